package hostile

import (
	"crypto/rand"
	"testing"
)

// TestHostileBytes sends each door what no client would. Every connection is answered in its protocol's own error where that has one, nobody else
// notices, and nothing stays behind.
func TestHostileBytes(t *testing.T) {
	t.Parallel()
	s := start(t, "--log-level", "error")
	s.serves(t)
	base, before := s.memory(t, "VmRSS"), s.goroutines(t)
	t.Run("AMQP", func(t *testing.T) { hostileAMQP(t, s) })
	t.Run("WebSocket", func(t *testing.T) { hostileWebSocket(t, s) })
	t.Run("HTTP", func(t *testing.T) { hostileHTTP(t, s) })
	t.Run("gRPC", func(t *testing.T) { hostileGRPC(t, s) })
	t.Run("NATS", func(t *testing.T) { hostileNATS(t, s) })
	t.Run("MQTT", func(t *testing.T) { hostileMQTT(t, s) })
	t.Run("garbage", func(t *testing.T) { garbage(t, s) })
	s.serves(t)
	s.settles(t, before)
	s.bounded(t, base, 150<<20)
}

// garbage sends every door random octets, and a beginning that breaks off.
func garbage(t *testing.T, s *site) {
	for door, address := range map[string]string{"web": s.web, "gRPC": s.grpc, "AMQP": s.amqp, "NATS": s.nats, "MQTT": s.mqtt} {
		for range 50 {
			conn := dialRaw(t, address)
			noise := make([]byte, 4<<10)
			_, _ = rand.Read(noise)
			_, _ = conn.Write(noise)
			_ = halfClose(conn)
			all(conn)
			conn.Close()
		}
		for _, begin := range []string{"A", "AMQP\x00\x00\x09", "GET / HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x10\xff\xff\xff\x7f\x00\x04MQTT", "CONNECT {", "\x16\x03\x01\x02\x00\x01"} {
			conn := dialRaw(t, address)
			_, _ = conn.Write([]byte(begin))
			_ = halfClose(conn)
			if _, ok := ended(conn); !ok {
				t.Errorf("%s: %q and the end of the stream left the connection open", door, begin)
			}
			conn.Close()
		}
	}
}
