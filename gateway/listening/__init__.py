"""The public port: accepting connections, bounding what strangers may hold, and handing whole requests to aiohttp.

aiohttp's server takes whatever connects and waits. Here a connection costs next to nothing until its first request's
headers are whole; how many there are, how long and how large each may be has a limit; and where there is no space for
one more, the stranger who has waited longest goes first.
"""
