package queue_test

import (
	"sync"
	"testing"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestContract runs the rules of every queue on both stores.
func TestContract(t *testing.T) {
	stores := map[string]queuetest.Store{
		"memory":               {Open: openMemory},
		"log":                  onDisk(func(queue.Config) *queuetest.Disk { return &queuetest.Disk{} }, 0),
		"log with tiny memory": onDisk(func(queue.Config) *queuetest.Disk { return &queuetest.Disk{} }, 1),
		"log that is not trimmed": onDisk(func(queue.Config) *queuetest.Disk {
			d := &queuetest.Disk{}
			d.Deafen(true)
			return d
		}, 0),
	}
	for name, s := range stores {
		t.Run(name, func(t *testing.T) { queuetest.Contract(t, s) })
	}
}

func openMemory(t *testing.T, cfg queue.Config) *queue.Queue {
	q, err := queue.Open(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// onDisk is a store on disks that newDisk makes.
func onDisk(newDisk func(queue.Config) *queuetest.Disk, resident int64) queuetest.Store {
	type opened struct {
		disk *queuetest.Disk
		cfg  queue.Config
	}
	var mu sync.Mutex
	all := map[*queue.Queue]opened{}
	open := func(t *testing.T, o opened) *queue.Queue {
		q, err := queue.Open(o.cfg, o.disk.Open())
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		all[q] = o
		return q
	}
	return queuetest.Store{
		Open: func(t *testing.T, cfg queue.Config) *queue.Queue {
			if resident > 0 {
				cfg.Resident = resident
			}
			return open(t, opened{newDisk(cfg), cfg})
		},
		Reopen: func(t *testing.T, q *queue.Queue) *queue.Queue {
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			o := all[q]
			mu.Unlock()
			return open(t, o)
		},
	}
}
