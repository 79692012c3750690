package stomp

import (
	"log/slog"
	"time"

	"portico/core"

	"golang.org/x/sync/semaphore"
)

// door is this protocol's name in credentials, metrics and logs.
const door = "stomp"

// Limits of a session.
const (
	maxSubscriptions = 1024
	maxTemps         = 256       // /temp-queue destinations in use
	maxUnacked       = 16384     // deliveries a session holds
	maxTransactions  = 64        // open at once
	maxTransaction   = 16384     // frames in all open transactions
	windowBytes      = 32 << 20  // under way into queues; when full the client is not read
	windowCost       = 1 << 10   // what anything under way weighs beside its payload
	bodyMemory       = 512 << 20 // bytes of large frames, and of transactions, of all sessions
	temporaryLength  = 16384     // messages, and
	temporaryBytes   = 16 << 20  // bytes that wait in the queue of a topic's subscriber; above, the oldest go
	connectTimeout   = 10 * time.Second
	leastBeat        = time.Second // between heart-beats, either way
)

// Server is what all sessions share. It is immutable.
type Server struct {
	gateway *core.Gateway
	log     *slog.Logger
	metrics *core.DoorMetrics
	memory  *semaphore.Weighted
	connect time.Duration
}

// NewServer returns a server of sessions on g.
func NewServer(g *core.Gateway, log *slog.Logger) *Server {
	return &Server{
		gateway: g, log: log, metrics: g.Door(door), memory: semaphore.NewWeighted(bodyMemory), connect: connectTimeout,
	}
}

func (s *Server) limits() Limits {
	return Limits{Body: s.gateway.MaxMessage(), Reserve: s.memory.TryAcquire, Release: s.memory.Release}
}
