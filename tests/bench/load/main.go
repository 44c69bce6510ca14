// Command load sends prepared requests to a gRPC server and reports what it saw, as one JSON object.
//
// It exists because a generator must cost less than what it measures, and must look at every answer: bodies are sent and
// received as bytes, and answers are counted by their gRPC code and their first bytes.
package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const maxMessage = 64 << 20

// raw passes bytes through.
type raw struct{}

func (raw) Name() string                  { return "proto" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

type report struct {
	Calls     int            `json:"calls"`
	Seconds   float64        `json:"seconds"`
	Exhausted bool           `json:"exhausted"`
	Codes     map[string]int `json:"codes"`
	Heads     map[string]int `json:"heads"`
	P50us     float64        `json:"p50_us"`
	P99us     float64        `json:"p99_us"`
}

type worker struct {
	latencies []time.Duration
	codes     map[string]int
	heads     map[string]int
}

func read(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var bodies [][]byte
	for len(data) > 0 {
		size := binary.LittleEndian.Uint32(data)
		bodies = append(bodies, data[4:4+size])
		data = data[4+size:]
	}
	return bodies, nil
}

func main() {
	target := flag.String("target", "", "HOST:PORT")
	method := flag.String("method", "", "/package.Service/Method")
	file := flag.String("bodies", "", "requests, each behind its length as 4 bytes, little-endian")
	connections := flag.Int("connections", 4, "connections")
	inflight := flag.Int("inflight", 64, "calls in flight over all connections")
	seconds := flag.Float64("seconds", 3, "how long to measure")
	warmup := flag.Float64("warmup", 0.5, "how long to send before measuring")
	once := flag.Bool("once", false, "send each request once, and end early when there are no more")
	head := flag.Int("head", 4, "how many first bytes of an answer to count it by")
	flag.Parse()
	if err := run(*target, *method, *file, *connections, *inflight, *head, *seconds, *warmup, *once); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(target, method, file string, connections, inflight, head int, seconds, warmup float64, once bool) error {
	bodies, err := read(file)
	if err != nil {
		return err
	}
	channels := make([]*grpc.ClientConn, connections)
	for i := range channels {
		channels[i], err = grpc.NewClient("passthrough:///"+target,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(
				grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
		if err != nil {
			return err
		}
		defer channels[i].Close()
	}
	begin := time.Now().Add(time.Duration(warmup * float64(time.Second)))
	end := begin.Add(time.Duration(seconds * float64(time.Second)))
	var next, late atomic.Int64
	workers := make([]worker, inflight)
	var group sync.WaitGroup
	for i := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			w := worker{codes: map[string]int{}, heads: map[string]int{}}
			for {
				sent := time.Now()
				if sent.After(end) {
					break
				}
				number := next.Add(1) - 1
				if once && number >= int64(len(bodies)) {
					late.Store(1)
					break
				}
				var answer []byte
				err := channels[i%connections].Invoke(context.Background(), method, &bodies[number%int64(len(bodies))], &answer)
				done := time.Now()
				// Errors count also in the warm-up; rates and times only after it, and only what ended in time.
				code := status.Code(err).String()
				if sent.After(begin) && done.Before(end) || code != "OK" {
					w.codes[code]++
					w.heads[hex.EncodeToString(answer[:min(head, len(answer))])]++
					w.latencies = append(w.latencies, done.Sub(sent))
				}
			}
			workers[i] = w
		}()
	}
	group.Wait()
	took := min(time.Since(begin), end.Sub(begin)).Seconds()
	return tell(workers, took, late.Load() == 1)
}

func tell(workers []worker, seconds float64, exhausted bool) error {
	out := report{Seconds: seconds, Exhausted: exhausted, Codes: map[string]int{}, Heads: map[string]int{}}
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.latencies...)
		for code, count := range w.codes {
			out.Codes[code] += count
		}
		for head, count := range w.heads {
			out.Heads[head] += count
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	out.Calls = len(all)
	if len(all) > 0 {
		out.P50us = float64(all[len(all)/2].Nanoseconds()) / 1e3
		out.P99us = float64(all[len(all)*99/100].Nanoseconds()) / 1e3
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
