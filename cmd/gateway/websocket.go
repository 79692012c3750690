package main

import (
	"slices"

	"portico/adapters/websocket"
)

// WebSocketConfig is what the WebSocket door needs beside the HTTP port it lives on.
type WebSocketConfig struct {
	AllowedOrigins           []string `koanf:"allowed_origins"`
	Compression              bool     `koanf:"compression"`
	MaxConnections           int      `koanf:"max_connections"`
	MaxConnectionsPerAddress int      `koanf:"max_connections_per_address"` // 0: no limit
	MaxSubscriptions         int      `koanf:"max_subscriptions"`
	MaxMessage               int64    `koanf:"max_message"`  // bytes; 0: the gateway's
	MaxOutbound              int64    `koanf:"max_outbound"` // bytes
	Rate                     int      `koanf:"rate"`         // frames a second; 0: no limit
}

// webSocketOptions are the keys of the WebSocket door.
func webSocketOptions() []option {
	return []option{
		list("websocket.allowed_origins", "pages of other origins that may connect, such as https://app.example.com"),
		boolean("websocket.compression", "false", "permessage-deflate for WebSocket clients that offer it"),
		number("websocket.max_connections", "8192", "WebSocket connections at once; above, 503", 1, 1<<20),
		switchable(number("websocket.max_connections_per_address", off, "WebSocket connections of one IP address at once; above, 429; off = as many as there may be", 1, 1<<20), 0),
		number("websocket.max_subscriptions", "1024", "subscriptions and services of one WebSocket connection", 1, 1<<20),
		switchable(size("websocket.max_message", off, "largest message of a WebSocket client, payload and headers together; off = max_message", 1<<10, 128<<20), int64(0)),
		size("websocket.max_outbound", "8MiB", "what may wait for a WebSocket client that reads too slowly", 64<<10, 1<<30),
		switchable(number("websocket.rate", off, "frames a second that a WebSocket client may send, and as many at once; what is above is read later; off = no limit", 1, 1<<20), 0),
	}
}

// httpRoom is how many connections the HTTP door has beside those that may become WebSockets, where these are more than its own default.
const httpRoom = 1024

// httpConnections is the HTTP door's limit; 0: its default.
func (c *WebSocketConfig) httpConnections() int {
	if c.MaxConnections <= 8192 {
		return 0
	}
	return c.MaxConnections + httpRoom
}

// door is the door's own form of it. What is allowed to use HTTP may connect, too.
func (c *WebSocketConfig) door(http []string) websocket.Config {
	return websocket.Config{
		AllowedOrigins: slices.Concat(c.AllowedOrigins, http), MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxConnectionsPerAddress,
		MaxSubscriptions: c.MaxSubscriptions, MaxMessage: int(c.MaxMessage), MaxOutbound: int(c.MaxOutbound), Rate: c.Rate, Compression: c.Compression,
	}
}
