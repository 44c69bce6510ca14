"""grpcurl for machines that have none: the same command line and output, over the server's reflection alone.

Only what README uses: `-plaintext -d JSON TARGET SERVICE/METHOD` with one request and one answer.
"""

from __future__ import annotations

import argparse
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc


def fetch_files(channel: grpc.Channel, service: str) -> descriptor_pool.DescriptorPool:
    """The protos that the server tells of a service, with all that they import."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    wanted = [request]
    while wanted:
        (answer,) = stub.ServerReflectionInfo(iter([wanted.pop()]))
        for content in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(content)
            if file.name not in files:
                files[file.name] = file
                wanted += [reflection_pb2.ServerReflectionRequest(file_by_filename=name) for name in file.dependency]
    pool = descriptor_pool.DescriptorPool()

    def add(name: str) -> None:
        file = files.pop(name, None)
        if file is not None:
            for dependency in file.dependency:
                add(dependency)
            pool.Add(file)

    for name in list(files):
        add(name)
    return pool


def main() -> int:
    """Make one call, and print its answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-d", dest="data", default="{}")
    parser.add_argument("target")
    parser.add_argument("method")
    arguments = parser.parse_args()
    service, _, method = arguments.method.rpartition("/")
    with grpc.insecure_channel(arguments.target) as channel:
        pool = fetch_files(channel, service)
        rpc = pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(rpc.input_type)()
        json_format.Parse(arguments.data, request)
        call = channel.unary_unary(
            f"/{arguments.method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(rpc.output_type).FromString,
        )
        print(json_format.MessageToJson(call(request, timeout=10), preserving_proto_field_name=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
