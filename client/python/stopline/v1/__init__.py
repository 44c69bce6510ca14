"""The messages and stubs of the API `stopline.v1`, as generated from its protos. `stopline.Client` is built on them."""
