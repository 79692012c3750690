package core_test

import (
	"fmt"
	"testing"

	"portico/core"
	"portico/core/coretest"
)

// TestDeletedQueuesAreForgotten: the embedded server keeps nothing of durable queues that were deleted. It fails, too, when the server's list is no longer where core/server_leak.go looks for it.
func TestDeletedQueuesAreForgotten(t *testing.T) {
	g := coretest.Start(t)
	bus := g.System()
	const queues = 20
	for i := range queues {
		if _, _, err := bus.DeclareQueue(t.Context(), core.QueueConfig{Name: fmt.Sprint("q", i), Durable: true}); err != nil {
			t.Fatal(err)
		}
	}
	if names, ok := g.ServerQueues(); !ok || len(names) < queues {
		t.Fatalf("the server's list is not as it was: %v %v", ok, names)
	}
	for i := range queues {
		if _, err := bus.DeleteQueue(t.Context(), fmt.Sprint("q", i)); err != nil {
			t.Fatal(err)
		}
	}
	if names, _ := g.ServerQueues(); len(names) > 0 {
		t.Errorf("the server still knows %v", names)
	}
}
