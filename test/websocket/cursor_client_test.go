package websocket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// follower is a client that follows a stream, loses its connection now and then, and keeps account of every number.
type follower struct {
	// immutable
	url     string
	stream  string
	part    int  // of parts; -1: everything
	batch   bool // it takes batches
	slow    bool // it dawdles, so that a stream with a limit gets ahead of it
	until   uint64
	luckFor time.Duration // how long a connection lasts, on average, and the most that comes before the next
	random  *rand.Rand

	tally *tally

	// owned by its goroutine
	last  uint64 // everything up to here was seen or named as missing
	epoch string
	seen  uint64
}

// tally is what all followers together have seen.
type tally struct {
	delivered, missing, gaps, connections, lost, refused atomic.Int64
	calm                                                 atomic.Bool // nobody loses a connection any more
}

const (
	parts   = 10
	maxAway = 2 * time.Second // between two connections
)

// errDropped: the follower has dropped its connection on purpose.
var errDropped = errors.New("dropped")

// run follows until everything up to until is accounted for.
func (f *follower) run(deadline time.Time) error {
	first := true
	for f.last < f.until {
		if time.Now().After(deadline) {
			return fmt.Errorf("at %d of %d when time was up", f.last, f.until)
		}
		err := f.connected(first, deadline)
		if err != nil && !errors.Is(err, errDropped) {
			return err
		}
		first = first && f.epoch == ""
		if err != nil && !f.tally.calm.Load() && f.random.IntN(2) == 0 {
			<-time.After(time.Duration(f.random.Int64N(int64(min(f.luckFor, maxAway)))))
		}
	}
	return nil
}

// connected is one connection.
func (f *follower) connected(first bool, deadline time.Time) error {
	address := f.url
	if f.batch {
		address += "?batch=true"
	}
	dialer := gorilla.Dialer{Subprotocols: []string{"portico.v1.json"}, HandshakeTimeout: time.Until(deadline)}
	ws, _, err := dialer.Dial(address, nil)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer ws.Close()
	f.tally.connections.Add(1)
	if err := ws.SetReadDeadline(deadline); err != nil {
		return err
	}
	sub := map[string]any{"op": "sub", "id": "1", "sid": "s", "stream": f.stream, "from": "all"}
	if !first {
		delete(sub, "from")
		sub["after"], sub["epoch"] = f.last, f.epoch
	}
	if f.part >= 0 {
		sub["subject"] = "numbers." + strconv.Itoa(f.part)
	}
	if err := ws.WriteJSON(sub); err != nil {
		return err
	}
	drop := f.luck()
	var in bytes.Buffer
	for f.last < f.until {
		_, r, err := ws.NextReader()
		if err == nil {
			in.Reset()
			_, err = in.ReadFrom(r)
		}
		if err != nil {
			return fmt.Errorf("behind %d: %w", f.last, err)
		}
		if err := f.take(in.Bytes(), !first); err != nil {
			return err
		}
		if f.slow && !f.tally.calm.Load() && f.random.IntN(50) == 0 {
			<-time.After(time.Duration(f.random.IntN(200)) * time.Millisecond)
		}
		if f.epoch != "" && time.Now().After(drop) && !f.tally.calm.Load() {
			f.tally.lost.Add(1)
			return errDropped
		}
	}
	return nil
}

// luck is when the next connection will be lost.
func (f *follower) luck() time.Time {
	return time.Now().Add(time.Duration(f.random.ExpFloat64() * float64(f.luckFor)))
}

// message is what a follower needs to know of a frame.
type message struct {
	Op        string   `json:"op"`
	Stream    string   `json:"stream"`
	Seq       uint64   `json:"seq"`
	Subject   string   `json:"subject"`
	Data      string   `json:"data"`
	Detail    string   `json:"detail"`
	Code      string   `json:"code"`
	Epoch     string   `json:"epoch"`
	After     *uint64  `json:"after"`
	Recovered *bool    `json:"recovered"`
	Reset     bool     `json:"reset"`
	Gap       *missing `json:"gap"`
	missing
}

type missing struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// take looks at what came in one message.
func (f *follower) take(b []byte, resumed bool) error {
	if b[0] != '[' {
		return f.one(b, resumed)
	}
	depth, start := 0, 0
	for i, c := range b { // no text of these frames has a brace
		switch c {
		case '{':
			if depth++; depth == 1 {
				start = i
			}
		case '}':
			if depth--; depth > 0 {
				continue
			}
			if err := f.one(b[start:i+1], resumed); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *follower) one(b []byte, resumed bool) error {
	var m message
	if seq, subject, data, ok := glance(b); ok {
		m = message{Op: "msg", Seq: seq, Subject: subject, Data: data}
	} else if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	switch m.Op {
	case "welcome":
		return nil
	case "ok":
		return f.began(&m, resumed)
	case "gap":
		return f.gap(m.missing)
	case "msg":
		return f.message(&m)
	case "err":
		if m.Code == "timeout" || m.Code == "unavailable" { // too much is asked for at once: again
			f.tally.refused.Add(1)
			return errDropped
		}
	}
	return fmt.Errorf("unexpected %s", b)
}

// began takes the answer to sub.
func (f *follower) began(m *message, resumed bool) error {
	if m.After == nil || m.Epoch == "" || m.Reset || (m.Recovered != nil) != resumed || resumed && m.Epoch != f.epoch {
		return fmt.Errorf("resumed %v behind %d, answered %+v", resumed, f.last, m)
	}
	f.epoch = m.Epoch
	if !resumed {
		return f.gapTo(*m.After) // what was gone before it came the first time
	}
	if *m.Recovered != (m.Gap == nil) {
		return fmt.Errorf("recovered %v with gap %v", *m.Recovered, m.Gap)
	}
	if m.Gap != nil {
		if err := f.gap(*m.Gap); err != nil {
			return err
		}
	}
	if *m.After != f.last {
		return fmt.Errorf("goes on behind %d instead of %d", *m.After, f.last)
	}
	return nil
}

func (f *follower) gapTo(n uint64) error {
	if n > f.last {
		return f.gap(missing{f.last + 1, n})
	}
	return nil
}

// gap takes the name of what is missing. A follower of everything hears of the very next number; one of a part has not seen the others' numbers.
func (f *follower) gap(m missing) error {
	if m.To < m.From || m.From <= f.last || f.part < 0 && m.From != f.last+1 {
		return fmt.Errorf("behind %d came gap %+v", f.last, m)
	}
	if err := f.skipped(m.From); err != nil {
		return err
	}
	f.tally.gaps.Add(1)
	f.tally.missing.Add(int64(m.To - m.From + 1))
	f.last = m.To
	return nil
}

// message takes a message, which must be the next of those that are for this follower.
func (f *follower) message(m *message) error {
	if m.Seq <= f.last || m.Data != strconv.FormatUint(m.Seq, 10) {
		return fmt.Errorf("behind %d came %+v", f.last, m)
	}
	if err := f.skipped(m.Seq); err != nil {
		return err
	}
	if f.part >= 0 && partOf(m.Seq) != f.part {
		return fmt.Errorf("part %d got %+v", f.part, m)
	}
	f.last = m.Seq
	f.seen++
	f.tally.delivered.Add(1)
	return nil
}

// skipped checks that nothing between the last number and next is for this follower.
func (f *follower) skipped(next uint64) error {
	for n := f.last + 1; n < next; n++ {
		if f.part < 0 || partOf(n) == f.part {
			return fmt.Errorf("%d is missing without a word: behind %d came %d", n, f.last, next)
		}
	}
	return nil
}

func partOf(n uint64) int { return int(n % parts) }

// glance reads a message of a stream without a JSON decoder, which would be most of the work of the test.
func glance(b []byte) (seq uint64, subject, data string, ok bool) {
	if !bytes.HasPrefix(b, []byte(`{"op":"msg","sid":"s","stream":"NUMBERS","seq":`)) {
		return 0, "", "", false
	}
	rest := b[len(`{"op":"msg","sid":"s","stream":"NUMBERS","seq":`):]
	digits, rest, _ := bytes.Cut(rest, []byte(","))
	_, rest, hasSubject := bytes.Cut(rest, []byte(`"subject":"`))
	name, rest, _ := bytes.Cut(rest, []byte(`"`))
	_, rest, hasData := bytes.Cut(rest, []byte(`"data":"`))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	return seq, string(name), string(value), err == nil && hasSubject && hasData
}
