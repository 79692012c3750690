package amqp_test

import (
	"fmt"
	"testing"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// spread binds queues, each by its key, to an exchange of a type and publishes n different messages, each twice. What differs is the routing key, or, with
// sameKey, the header id and message_id alone. It returns how many each queue has, and under "together" how many pairs came to one queue.
func spread(t *testing.T, d *door, kind string, args client.Table, queues map[string]string, sameKey bool, n int) map[string]int {
	t.Helper()
	ch := d.confirming(t)
	must(t, ch.ExchangeDeclare("x", kind, false, false, false, false, args))
	for q, key := range queues {
		transient(t, ch, q, nil)
		must(t, ch.QueueBind(q, key, "x", false, nil))
	}
	confirms := make([]*client.DeferredConfirmation, 2*n)
	for i := range confirms {
		id := fmt.Sprint(i % n)
		p := client.Publishing{Headers: client.Table{"id": id}, MessageId: id, Body: []byte(id)}
		if sameKey {
			id = "same"
		}
		confirms[i] = value(ch.PublishWithDeferredConfirm("x", id, false, false, p))(t)
	}
	for _, c := range confirms {
		if !c.Wait() {
			t.Fatal("not confirmed")
		}
	}
	counts := map[string]int{}
	for q := range queues {
		seen := map[string]bool{}
		for counts[q] = ready(t, ch, q); len(seen) < counts[q]; {
			text := string(get(t, ch, q).Body)
			if seen[text] {
				counts["together"]++
				text += " again"
			}
			seen[text] = true
		}
	}
	return counts
}

// §1.12: a consistent hash exchange sends equal keys, headers or properties to one queue, in proportion to the weights.
func TestConsistentHashExchange(t *testing.T) {
	const n = 1000
	for name, c := range map[string]struct {
		args   client.Table
		header bool
	}{
		"by routing key": {nil, false},
		"by header":      {client.Table{"hash-header": "id"}, true},
		"by property":    {client.Table{"hash-property": "message_id"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := spread(t, open(t), "x-consistent-hash", c.args, map[string]string{"light": "1", "heavy": "3"}, c.header, n)
			if got["light"]+got["heavy"] != 2*n || got["together"] != n {
				t.Fatalf("%v of %d twice", got, n)
			}
			if share := float64(got["light"]) / (2 * n); share < 0.18 || share > 0.32 {
				t.Errorf("the light queue has %.2f of all, want a quarter", share)
			}
		})
	}
}

// §1.12: a modulus hash exchange sends equal routing keys to one queue, whatever the binding keys.
func TestModulusHashExchange(t *testing.T) {
	const n = 1000
	got := spread(t, open(t), "x-modulus-hash", nil, map[string]string{"a": "", "b": "any"}, false, n)
	if got["a"]+got["b"] != 2*n || got["together"] != n || got["a"] < n/2 || got["b"] < n/2 {
		t.Errorf("%v of %d twice", got, n)
	}
}

// §1.12: a random exchange sends each message to one queue, any.
func TestRandomExchange(t *testing.T) {
	const n = 500
	got := spread(t, open(t), "x-random", nil, map[string]string{"a": "", "b": ""}, false, n)
	if got["a"]+got["b"] != 2*n || got["a"] < n/2 || got["b"] < n/2 || got["together"] == n || got["together"] == 0 {
		t.Errorf("%v of %d twice", got, n)
	}
}

// §1.12: exchanges of these types and their bindings outlive the gateway.
func TestPluginExchangesOutliveTheGateway(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.channel(t)
	durable(t, ch, "q", nil)
	kinds := map[string]client.Table{
		"x-consistent-hash": {"hash-header": "id"}, "x-modulus-hash": nil, "x-random": nil, "x-delayed-message": {"x-delayed-type": "fanout"},
	}
	for kind, args := range kinds {
		must(t, ch.ExchangeDeclare(kind, kind, true, false, false, false, args))
		must(t, ch.QueueBind("q", "1", kind, false, nil))
	}
	ch = d.restart(t, dir).confirming(t)
	for kind, args := range kinds {
		must(t, ch.ExchangeDeclare(kind, kind, true, false, false, false, args))
		confirmed(t, ch, kind, "k", kind)
		drained(t, ch, "q", kind)
	}
}

// §1.12: what these types ask for, and types there are none of.
func TestExchangeTypeRefusals(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct {
		kind string
		args client.Table
		text string
	}{
		"delayed without its type": {"x-delayed-message", nil, ""},
		"delayed as unheard":       {"x-delayed-message", client.Table{"x-delayed-type": "unheard"}, "PRECONDITION_FAILED - unknown exchange type 'unheard'"},
		"recent history":           {"x-recent-history", nil, "PRECONDITION_FAILED - unknown exchange type 'x-recent-history'"},
		"local random":             {"x-local-random", nil, "PRECONDITION_FAILED - unknown exchange type 'x-local-random'"},
		"jms topic":                {"x-jms-topic", nil, "PRECONDITION_FAILED - unknown exchange type 'x-jms-topic'"},
		"unheard":                  {"unheard", nil, "PRECONDITION_FAILED - unknown exchange type 'unheard'"},
	} {
		t.Run(name, func(t *testing.T) {
			wantCode(t, d.channel(t).ExchangeDeclare("x", c.kind, false, false, false, false, c.args), 406, c.text)
		})
	}
	ch := d.channel(t)
	must(t, ch.ExchangeDeclare("hash", "x-consistent-hash", false, false, false, false, nil))
	transient(t, ch, "q", nil)
	wantCode(t, ch.QueueBind("q", "heavy", "hash", false, nil), 406, "")
}
