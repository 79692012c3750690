// Package crash kills the gateway at random moments and holds it to what it has confirmed.
package crash

import (
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"
)

// TestKill: rounds of confirmed publishing and acknowledging over AMQP and HTTP, each ended by kill -9 at a random moment. Every confirmed message that
// was not acknowledged is there at the end, nothing comes back after its acknowledgement was synced, and the counts agree.
// Three rounds; 100 with E2E=long.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the gateway over and over")
	}
	rounds := 3
	if os.Getenv("E2E") == "long" {
		rounds = 100
	}
	program, dir := gateway.Build(t), t.TempDir()
	overAMQP, overHTTP := newLedger(), newLedger()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		after := 200*time.Millisecond + time.Duration(random.Int64N(int64(1800*time.Millisecond)))
		round(t, program, dir, after, overAMQP, overHTTP)
		if t.Failed() {
			t.FailNow()
		}
	}
	g := gateway.RunIn(t, dir, exec.Command(program))
	overAMQP.settle(t, drainAMQP(t, g.Doors["AMQP"]))
	overHTTP.settle(t, drainHTTP(t, web(g)))
}

func web(g *gateway.Gateway) *webClient {
	return &webClient{base: g.Doors["HTTP"], client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}
}

func round(t *testing.T, program, dir string, after time.Duration, overAMQP, overHTTP *ledger) {
	g := gateway.RunIn(t, dir, exec.Command(program))
	conn, ch := open(t, g.Doors["AMQP"])
	if _, err := ch.QueueDeclare(amqpQueue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	w := web(g)
	if status, body, err := w.call("PUT", "/v1/queues/"+httpQueue, []byte(`{"durable":true}`)); err != nil || status/100 != 2 {
		t.Fatalf("declare: %d %s %v", status, body, err)
	}
	var clients sync.WaitGroup
	clients.Go(func() { publishAMQP(t, g.Doors["AMQP"], overAMQP) })
	clients.Go(func() { consumeAMQP(t, g.Doors["AMQP"], overAMQP) })
	clients.Go(func() { publishHTTP(w, overHTTP) })
	clients.Go(func() { publishHTTP(w, overHTTP) })
	clients.Go(func() { consumeHTTP(t, w, overHTTP) })
	<-time.After(after) // the moment of the kill is what is random here
	g.Signal(t, syscall.SIGKILL)
	killed := time.Now()
	g.Wait(t)
	clients.Wait()
	overAMQP.killed(killed)
	overHTTP.killed(killed)
}

// drainAMQP takes everything out of the queue and compares with its count.
func drainAMQP(t *testing.T, url string) (ids []string) {
	conn, ch := open(t, url)
	defer conn.Close()
	q, err := ch.QueueDeclarePassive(amqpQueue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, ok, err := ch.Get(amqpQueue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		ids = append(ids, string(d.Body))
	}
	if len(ids) != q.Messages {
		t.Errorf("%s counts %d messages and holds %d", amqpQueue, q.Messages, len(ids))
	}
	return ids
}

func drainHTTP(t *testing.T, w *webClient) (ids []string) {
	for {
		got, _, err := w.fetch(1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return ids
		}
		ids = append(ids, got...)
	}
}
