package core_test

import (
	"testing"

	"portico/core"
	"portico/core/coretest"
)

// TestAppend: what is appended to a queue directly is checked and cleaned as a publish is.
func TestAppend(t *testing.T) {
	g := coretest.Start(t)
	bus := login(t, g)
	q, _, err := bus.DeclareQueue(t.Context(), core.QueueConfig{Name: "work"})
	if err != nil {
		t.Fatal(err)
	}
	add := func(m *core.Message) error {
		kept := make(chan error, 1)
		bus.Append(q, m, func(_ core.Receipt, err error) { kept <- err })
		return <-kept
	}
	refused := map[string]struct {
		m    core.Message
		code core.Code
	}{
		"header with a line break": {core.Message{Header: core.Header{"A": {"b\r\nC: d"}}}, core.CodeInvalid},
		"header without a name":    {core.Message{Header: core.Header{"": {"b"}}}, core.CodeInvalid},
		"too large":                {core.Message{Data: make([]byte, g.MaxMessage()+1)}, core.CodeTooLarge},
	}
	for name, c := range refused {
		t.Run(name, func(t *testing.T) {
			if err := add(&c.m); err == nil || core.AsError(err).Code != c.code {
				t.Errorf("got %v, want %v", err, c.code)
			}
		})
	}
	err = add(&core.Message{Header: core.Header{"Nats-Rollup": {"all"}, core.HeaderAMQP: {"AAA="}, core.HeaderUserID: {"root"}, "Order": {"7"}}, Data: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	d, ok, err := q.Get(true, nil)
	if err != nil || !ok {
		t.Fatalf("get: %v %v", ok, err)
	}
	m, err := g.Message(d.Record)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Header) != 1 || m.Header.Get("Order") != "7" || string(m.Data) != "x" {
		t.Errorf("kept %v %q; want the header Order alone", m.Header, m.Data)
	}
}
