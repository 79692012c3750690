package jslog_test

import (
	"fmt"
	"sync"
	"testing"

	"portico/core/jslog"
	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestContract runs the rules of every queue on logs in JetStream.
func TestContract(t *testing.T) {
	for name, sync := range map[string]bool{"synced": true, "written": false} {
		t.Run(name, func(t *testing.T) {
			b := startBus(t, t.TempDir(), nil)
			queuetest.Contract(t, (&queueStore{store: b.store(t, jslog.Options{Sync: sync}), all: map[*queue.Queue]openedQueue{}}).contract())
		})
	}
}

// queueStore opens queues on a store and knows how to open them again.
type queueStore struct {
	store *jslog.Store

	// guarded by mu
	mu  sync.Mutex
	n   int
	all map[*queue.Queue]openedQueue
}

type openedQueue struct {
	name string
	cfg  queue.Config
}

func (s *queueStore) contract() queuetest.Store {
	return queuetest.Store{
		Open: func(t *testing.T, cfg queue.Config) *queue.Queue {
			s.mu.Lock()
			s.n++
			o := openedQueue{fmt.Sprint(cfg.Name, s.n), cfg}
			s.mu.Unlock()
			return s.open(t, o)
		},
		Reopen: func(t *testing.T, q *queue.Queue) *queue.Queue {
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			o := s.all[q]
			s.mu.Unlock()
			return s.open(t, o)
		},
	}
}

func (s *queueStore) open(t *testing.T, o openedQueue) *queue.Queue {
	q, err := queue.Open(o.cfg, open(t, s.store, o.name))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[q] = o
	return q
}
