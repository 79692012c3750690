package amqp_test

import (
	"fmt"
	"testing"

	"portico/adapters/amqp/wire"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.5: what a redeclaration has to repeat: every argument its queue's type knows, and nothing else.
func TestArgumentsThatCount(t *testing.T) {
	d := open(t)
	for name, v := range map[string]any{
		"x-message-ttl": int32(60000), "x-expires": int32(60000), "x-dead-letter-exchange": "amq.fanout", "x-max-length": int32(5),
		"x-max-length-bytes": int32(500), "x-overflow": "reject-publish", "x-max-priority": int32(5), "x-single-active-consumer": true, "x-queue-mode": "lazy",
	} {
		t.Run(name, func(t *testing.T) {
			ch := d.channel(t)
			transient(t, ch, name, client.Table{name: v})
			transient(t, ch, name, client.Table{name: v, "x-unheard": "of", "anything": int32(1)})
			_, err := ch.QueueDeclare(name, false, false, false, false, nil)
			kind := map[bool]string{true: "bool", false: "signedint"}[v == true]
			if _, isText := v.(string); isText {
				kind = "longstr"
			}
			wantCode(t, err, 406, fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/': "+
				"received none but current is the value '%v' of type '%s'", name, name, v, kind))
		})
	}
}

// §1.5: unknown arguments are ignored, by declarations and redeclarations; those of other types are not.
func TestArgumentsThatDoNot(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	transient(t, ch, "q", client.Table{"x-unheard": int32(1), "other": client.Table{"deep": []any{nil}}})
	transient(t, ch, "q", client.Table{"x-unheard": "2"})
	transient(t, ch, "q", nil)
	transient(t, ch, "q", client.Table{"x-queue-type": "classic"})
	for i, args := range []client.Table{
		{"x-queue-mode": "lazy"}, {"x-queue-mode": "default"}, {"x-queue-version": int32(1)}, {"x-queue-version": int32(2)},
		{"x-queue-master-locator": "min-masters"}, {"x-queue-leader-locator": "balanced"},
	} {
		transient(t, ch, fmt.Sprint("placed ", i), args) // checked, and of no consequence here
	}
	p := d.peer(t, login{})
	for name, v := range map[string]any{
		"x-max-age": "1h", "x-stream-max-segment-size-bytes": int32(1000), "x-initial-cluster-size": int32(1), "x-delivery-limit": int32(3),
		"x-quorum-initial-group-size": int32(1), "x-dead-letter-strategy": "at-least-once",
	} {
		t.Run(name, func(t *testing.T) {
			p.wantRefused(2, declaration("n", name, v), 406,
				"PRECONDITION_FAILED - invalid arg '"+name+"' for queue 'n' in vhost '/' of queue type rabbit_classic_queue")
		})
	}
	p.wantRefused(2, declaration("n", "x-dead-letter-routing-key", "k"), 406,
		"PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'n' in vhost '/': routing_key_but_no_dlx_defined")
}

// §1.5: a queue is compared with what it was declared with after a restart, too, in all encodings.
func TestArgumentsOutliveTheGateway(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	durable(t, d.channel(t), "q", client.Table{"x-max-length": int64(5), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k", "x-unheard": true})
	d = d.restart(t, dir)
	durable(t, d.channel(t), "q", client.Table{"x-max-length": int8(5), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k"})
	p := d.peer(t, login{})
	p.wantRefused(2, &wire.QueueDeclare{Queue: "q", Durable: true}, 406, "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'q' in vhost '/': "+
		"received none but current is the value '' of type 'longstr'")
}
