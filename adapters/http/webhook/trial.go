package webhook

import (
	"context"
	"encoding/json"
	"time"

	"portico/core"
)

// testSubject is the subject of a test event, which is not on the bus.
const testSubject = "portico.webhook.test"

// Test sends a test event at once, beside the queue, and returns its attempt when that is in the log. The endpoint may be disabled. CodeNotFound, CodePermissionDenied, CodeUnavailable.
func (c *Courier) Test(ctx context.Context, bus *core.Bus, name string) (id string, a Attempt, err error) {
	e, err := c.find(bus, name)
	if err != nil {
		return "", a, err
	}
	c.mu.Lock()
	started := e.started && !c.over
	c.mu.Unlock()
	if !started {
		return "", a, core.Errorf(core.CodeUnavailable, "the gateway does not deliver webhooks now")
	}
	if !c.tests.TryAcquire(1) {
		return "", a, core.Errorf(core.CodeResourceExhausted, "%d tests are under way already", maxTests)
	}
	defer c.tests.Release(1)
	if err := e.ready(ctx); err != nil {
		return "", a, err
	}
	now := time.Now()
	id = newID("test_", now)
	body, err := json.Marshal(map[string]any{"type": testSubject, "timestamp": now.UTC(), "data": map[string]any{"webhook": name}})
	if err != nil {
		return "", a, err
	}
	m := &core.Message{Subject: testSubject, Header: core.Header{core.HeaderContentType: {"application/json"}}, Data: body}
	told, _ := entryOf(id, hash{}, m, now, 0) // nothing is kept: it cannot be replayed
	if err := e.journal.write(ctx, told, nil); err != nil {
		return "", a, err
	}
	if a, err = c.send(e, e.definition.Load(), id, m); err != nil {
		return "", a, core.Errorf(core.CodeUnavailable, "the gateway is stopping")
	}
	a.Number = 1
	if a.Result != Succeeded { // a test says nothing of the endpoint's messages
		a.Result = Failed
	}
	a.Response = clip(a.Response, excerptOf(c.gateway.MaxMessage()))
	c.metrics.attempted(a)
	return id, a, e.journal.write(ctx, &entry{ID: id, Time: time.Now(), Attempt: &a}, nil)
}
