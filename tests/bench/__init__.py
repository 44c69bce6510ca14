"""The benchmarks of `make bench`. Not tests: pytest collects none of this."""
