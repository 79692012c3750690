package websocket

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/test/gateway"

	gorilla "github.com/gorilla/websocket"
)

// scale is how much a run asks for: little by default, all of it with E2E=long.
type scale struct {
	clients  int
	messages uint64
	restless time.Duration // messages pass and connections are lost for so long
	luck     time.Duration // of a connection, on average
	patience time.Duration // until everything has arrived
}

func scaleOf() scale {
	if os.Getenv("E2E") == "long" {
		return scale{1000, 100_000, time.Minute, 6 * time.Second, 25 * time.Minute}
	}
	return scale{50, 5000, 1500 * time.Millisecond, 500 * time.Millisecond, 80 * time.Second}
}

// TestDurableCursors: clients follow a stream, lose their connections at random while messages pass, and go on behind the last number they saw. Each sees each message once and in order, or is
// told which are missing.
func TestDurableCursors(t *testing.T) {
	program := gateway.Build(t)
	for name, test := range map[string]struct {
		limit   int // messages that the stream keeps; 0: all
		divided bool
	}{
		"everything":            {},
		"stream with a limit":   {limit: 20},
		"a part, with a limit":  {limit: 20, divided: true},
		"a part of what is all": {divided: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := scaleOf()
			if test.divided {
				s.clients /= 2
			}
			limit := ""
			if test.limit > 0 {
				limit = fmt.Sprintf(`,"max_messages":%d`, s.messages/uint64(test.limit))
			}
			door := numbers(t, program, limit)
			total := followAll(t, door, s, test.divided)
			t.Logf("%d clients, %d messages: %d delivered, %d gaps name %d missing, %d connections of which %d were lost on purpose and %d refused, %s",
				s.clients, s.messages, total.delivered.Load(), total.gaps.Load(), total.missing.Load(), total.connections.Load(), total.lost.Load(), total.refused.Load(), time.Since(total.begun).Round(time.Millisecond))
			switch {
			case test.limit > 0 && total.gaps.Load() == 0:
				t.Error("the stream dropped nothing that anybody missed: the test shows nothing")
			case test.limit == 0 && total.gaps.Load() > 0:
				t.Errorf("%d gaps in a stream that keeps everything", total.gaps.Load())
			case total.lost.Load() < int64(s.clients)/4:
				t.Errorf("only %d connections were lost", total.lost.Load())
			}
		})
	}
}

// numbers starts a gateway with the stream NUMBERS and returns the address of its WebSocket door.
func numbers(t *testing.T, program, limit string) string {
	t.Helper()
	g := gateway.Run(t, exec.Command(program))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.Doors["HTTP"]+"/v1/streams/NUMBERS", strings.NewReader(`{"subjects":["numbers.*"]`+limit+`}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode/100 != 2 {
		t.Fatalf("create the stream: %s %s", res.Status, body)
	}
	return "ws" + strings.TrimPrefix(g.Doors["HTTP"], "http") + "/ws"
}

type total struct {
	*tally
	begun time.Time
}

// followAll lets the clients follow while messages pass, until each has accounted for all of them.
func followAll(t *testing.T, door string, s scale, divided bool) total {
	t.Helper()
	sum := total{&tally{}, time.Now()}
	deadline := sum.begun.Add(s.patience)
	var all sync.WaitGroup
	var once sync.Once
	for i := range s.clients {
		f := &follower{
			url: door, stream: "NUMBERS", part: -1, batch: i%3 == 0, slow: i%4 == 0, until: s.messages, luckFor: s.luck, random: rand.New(rand.NewPCG(1, uint64(i))), tally: sum.tally,
		}
		if divided {
			f.part, f.until = i%parts, lastOf(i%parts, s.messages)
		}
		all.Go(func() {
			if err := f.run(deadline); err != nil {
				once.Do(func() { t.Errorf("client %d: %v", i, err) })
			}
		})
	}
	if err := publishNumbers(door, s); err != nil {
		t.Errorf("publish: %v", err)
	}
	sum.calm.Store(true)
	all.Wait()
	return sum
}

// lastOf is the last number of a part.
func lastOf(part int, messages uint64) uint64 {
	for partOf(messages) != part {
		messages--
	}
	return messages
}

// publishNumbers publishes the numbers from 1 on, spread over the restless time. Each says behind which one it comes, so that number n is message n of the stream even if one has to be sent again.
func publishNumbers(door string, s scale) error {
	ws, _, err := gorilla.DefaultDialer.Dial(door, nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	p := &publisher{ws: ws, answers: make(chan answer, 2*window), failed: make(chan error, 1)}
	go p.read()
	begun := time.Now()
	for p.kept < s.messages {
		due := begun.Add(time.Duration(float64(s.restless) * float64(p.sent) / float64(s.messages)))
		if err := p.step(s.messages, due); err != nil {
			return err
		}
	}
	return nil
}

// window is how many messages are sent that are not answered.
const window = 256

// publisher sends numbers in order, and again from the first that was not kept.
type publisher struct {
	ws         *gorilla.Conn
	answers    chan answer
	failed     chan error
	sent, kept uint64
	open       int  // not answered
	again      bool // one was refused: what is open has to be answered, then it goes on behind kept
	tries      int
}

type answer struct {
	Op, ID, Code, Detail, Stream string
	Seq                          uint64
}

// number is the one that is answered.
func (a *answer) number() (n uint64) {
	_, _ = fmt.Sscan(a.ID, &n)
	return n
}

// there tells whether a refusal says that the stream has the number already: only that number can have become this message.
func (a *answer) there() bool {
	var last uint64
	_, err := fmt.Sscanf(a.Detail, "wrong last sequence: %d", &last)
	return err == nil && last >= a.number()
}

func (p *publisher) read() {
	for {
		var a answer
		if err := p.ws.ReadJSON(&a); err != nil {
			p.failed <- err
			return
		}
		if a.Op != "welcome" {
			p.answers <- a
		}
	}
}

// step sends the next number, or takes an answer.
func (p *publisher) step(messages uint64, due time.Time) error {
	if p.again && p.open == 0 {
		p.again, p.sent = false, p.kept
	}
	var now <-chan time.Time
	if !p.again && p.sent < messages && p.open < window {
		now = time.After(time.Until(due))
	}
	select {
	case <-now:
		p.sent++
		p.open++
		n := p.sent
		frame := fmt.Sprintf(`{"op":"pub","id":"%d","subject":"numbers.%d","data":"%d","msg_id":"n%d","headers":{"Nats-Expected-Last-Sequence":"%d"}}`, n, partOf(n), n, n, n-1)
		return p.ws.WriteMessage(gorilla.TextMessage, []byte(frame))
	case a := <-p.answers:
		p.open--
		return p.take(&a)
	case err := <-p.failed:
		return err
	}
}

// take takes an answer: that a number is kept, as the one of the stream, or that it has to be sent again.
func (p *publisher) take(a *answer) error {
	switch {
	case a.Op == "ok" && a.Stream == "NUMBERS" && fmt.Sprint(a.Seq) == a.ID:
		p.kept = max(p.kept, a.Seq)
		return nil
	case a.Op == "err" && a.Code == "precondition-failed" && p.tries > 0 && a.there():
		p.kept = max(p.kept, a.number()) // it was kept the first time, and the answer was late
		return nil
	case a.Op == "err" && (a.Code == "unavailable" || a.Code == "timeout" || a.Code == "resource-exhausted" || p.again && a.Code == "precondition-failed"):
		if p.tries++; p.tries < 100*window {
			p.again = true
			return nil
		}
	}
	return fmt.Errorf("number %s is answered %+v", a.ID, a)
}
