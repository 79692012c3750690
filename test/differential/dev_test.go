package differential

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
)

func TestDev(t *testing.T) {
	addr := os.Getenv("DEV_AMQP")
	if addr == "" {
		t.Skip()
	}
	if addr == "start" {
		addr = startRabbitMQ(t)
	}
	all := scripts()
	f, _ := os.Create(os.Getenv("DEV_OUT"))
	defer f.Close()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if p := os.Getenv("DEV_ONLY"); p != "" && p != name {
			continue
		}
		fmt.Fprintf(f, "\n=== %s\n", name)
		for _, o := range run(addr, all[name]) {
			fmt.Fprintf(f, "%s\n    => %s\n", o.op, o.got)
		}
	}
}
