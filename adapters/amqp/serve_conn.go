package amqp

import "net"

// ServeConn serves one AMQP connection that came some other way than through the door's own listener, and returns at once. The connection is the adapter's from
// then on: it ends and is closed as all others are, also when the gateway drains. Its RemoteAddr is who the client is for the log and the listings; deadlines must
// work on it. Once the adapter drains it is closed without a word.
func (a *Adapter) ServeConn(nc net.Conn) { a.start(nc) }
