"""PostgreSQL, NATS and Redis from wheels, and the supervisor that runs them with the applications.

`suite.Suite` is what `prosa up` runs; `servers.embedded_servers` gives tests and benchmarks the three servers alone;
`supervisor.Supervisor` runs any children. All of them must run in the main
thread, whose end is what the kernel tells the children of.
"""
