package webhook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

func code(t *testing.T, err error, want core.Code) {
	t.Helper()
	if err == nil || core.AsError(err).Code != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// TestChange: a new definition counts at once; subjects that it has no more do not feed the queue.
func TestChange(t *testing.T) {
	s := open(t)
	s.put(s.spec())
	spec := s.spec()
	spec.Subjects, spec.Headers = []string{"mail.>"}, map[string]string{"X-New": "1"}
	if key := s.put(spec); key != "" {
		t.Error("the secret is shown again")
	}
	s.publish("mail.in", nil, "m")
	if c := s.receiver.wait(t, 1)[0]; c.header.Get("X-New") != "1" || c.subject != "mail.in" {
		t.Errorf("the request is %+v", c)
	}
	r, err := s.bus.Publish(t.Context(), &core.Message{Subject: "orders.new"})
	if err != nil || r.Queues != 0 {
		t.Errorf("the old subject still reaches %d queues, %v", r.Queues, err)
	}
	spec.DeadLetterQueue = "webhook.hook"
	_, _, _, err = s.courier.Put(t.Context(), s.bus, "hook", spec, "")
	code(t, err, core.CodePreconditionFailed)
	spec.DeadLetterQueue = ""
	_, _, _, err = s.courier.Put(t.Context(), s.bus, "hook", spec, newSecret())
	code(t, err, core.CodePreconditionFailed)
}

// TestRotate: old and new secret sign during the overlap, and no more than five.
func TestRotate(t *testing.T) {
	s := open(t)
	first := s.put(s.spec())
	_, second, err := s.courier.Rotate(t.Context(), s.bus, "hook", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s.publish("orders.new", nil, "a")
	c := s.receiver.wait(t, 1)[0]
	verify(t, first, c)
	verify(t, second, c)
	_, third, err := s.courier.Rotate(t.Context(), s.bus, "hook", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	s.publish("orders.new", nil, "b")
	c = s.receiver.wait(t, 2)[1]
	verify(t, first, c) // its own overlap counts on
	verify(t, third, c)
	if n := len(strings.Fields(c.header.Get("webhook-signature"))); n != 2 {
		t.Errorf("%d signatures, want 2", n)
	}
	for range maxSecrets {
		_, _, err = s.courier.Rotate(t.Context(), s.bus, "hook", "", time.Hour)
	}
	code(t, err, core.CodeResourceExhausted)
}

// TestQueueDeleted: whoever deletes the queue disables the webhook; enabling makes another.
func TestQueueDeleted(t *testing.T) {
	s := open(t)
	s.put(s.spec())
	s.publish("orders.new", nil, "a")
	s.idle()
	done, err := s.courier.change(t.Context()) // so that the definition says so only when the endpoint has gone on
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.bus.DeleteQueue(t.Context(), "webhook.hook"); err != nil {
		t.Fatal(err)
	}
	e := s.courier.endpoints["hook"]
	eventually(t, "it has lost its queue", func() bool {
		gone := make(chan bool)
		e.post(func() { gone <- e.gone })
		return <-gone
	})
	s.turn()
	done()
	eventually(t, "it is disabled", func() bool { return s.endpoint().State == Disabled })
	s.turn()
	if s.bus.Lookup("webhook.hook") != nil {
		t.Error("the queue is there again, and nobody takes anything from it")
	}
	if r, err := s.bus.Publish(t.Context(), &core.Message{Subject: "orders.new"}); err != nil || r.Queues != 0 {
		t.Errorf("%d queues keep what is published, %v", r.Queues, err)
	}
	if _, err := s.courier.Enable(t.Context(), s.bus, "hook", true); err != nil {
		t.Fatal(err)
	}
	s.publish("orders.new", nil, "b")
	s.receiver.wait(t, 2)
	s.idle()
}

// TestDisabledLater: a 410 that cannot be stored yet stops attempts all the same.
func TestDisabledLater(t *testing.T) {
	s := open(t)
	s.receiver.answers(says(410))
	s.put(s.spec())
	other := coretest.Start(t)
	closed, err := other.System().Table(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	use := func(x *core.Table) (before *core.Table) {
		done, err := s.courier.change(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		before, s.courier.table = s.courier.table, x
		return before
	}
	good := use(closed)
	s.publish("orders.new", nil, "a")
	s.logged("a webhook could not be disabled")
	for range 20 {
		s.turn()
	}
	use(good)
	eventually(t, "it is disabled", func() bool { return s.endpoint().State == Disabled })
	if n := len(s.receiver.got()); n != 1 {
		t.Errorf("there were %d requests, want 1", n)
	}
}

// TestDeclareDuringChange: an endpoint that declares its old bindings while they change does not take the new ones away.
func TestDeclareDuringChange(t *testing.T) {
	s := open(t)
	s.put(s.spec())
	s.turn()
	s.turn() // it has its queue
	s.courier.mu.Lock()
	e := s.courier.endpoints["hook"]
	s.courier.mu.Unlock()
	before := e.definition.Load()
	spec := s.spec()
	for n := range maxSubjects - 1 {
		spec.Subjects = append(spec.Subjects, fmt.Sprintf("mail.%d", n))
	}
	s.put(spec)
	after := e.definition.Load()
	bindings := func() int { return len(s.bus.Bindings("webhook.hook")) }
	for range 20 { // until the change comes in the middle of it
		e.definition.Store(before)
		declared := make(chan error, 1)
		go func() { declared <- e.declare() }()
		eventually(t, "it removes what is new", func() bool { return bindings() < maxSubjects })
		e.definition.Store(after)
		late := len(declared) > 0
		if err := <-declared; err != nil {
			t.Fatal(err)
		}
		if n := bindings(); !late {
			if n != maxSubjects {
				t.Errorf("%d bindings are left, want %d", n, maxSubjects)
			}
			return
		}
		if err := e.declare(); err != nil {
			t.Fatal(err)
		}
	}
	t.Skip("it was always too quick")
}

// TestLogDeleted: deliveries go on, with a new log.
func TestLogDeleted(t *testing.T) {
	s := open(t)
	s.put(s.spec())
	if _, err := s.bus.DeleteQueue(t.Context(), "webhook.hook.log"); err != nil {
		t.Fatal(err)
	}
	s.publish("orders.new", nil, "a")
	s.receiver.wait(t, 1)
	s.idle()
	if n := len(s.deliveries(DeliverySucceeded)); n != 1 {
		t.Errorf("the new log has %d", n)
	}
}

// TestReplay: by what became of them, in their order, under their ids; a message twice in the queue is not sent twice at once.
func TestReplay(t *testing.T) {
	s := open(t)
	s.receiver.answers(says(500))
	spec := s.spec()
	spec.MaxAttempts = 1
	s.put(spec)
	s.publish("orders.new", core.Header{"Nats-Msg-Id": {"1"}}, "a")
	s.publish("orders.new", nil, "b")
	s.receiver.wait(t, 2)
	s.idle()
	s.receiver.answers(nil)
	s.publish("orders.new", nil, "c", strings.Repeat("x", maxKept+1))
	s.receiver.wait(t, 4)
	eventually(t, "all are logged", func() bool { return len(s.deliveries(DeliverySucceeded)) == 2 })
	done, err := s.courier.Replay(t.Context(), s.bus, "hook", time.Time{}, false, "")
	if err != nil || done.Replayed != 2 {
		t.Fatal(done, err)
	}
	calls := s.receiver.wait(t, 6)
	if calls[4].id != calls[0].id || calls[5].id != calls[1].id || calls[4].body != "a" || calls[4].header.Get(headerID) != "" {
		t.Errorf("replayed were %+v", calls[4:])
	}
	eventually(t, "all have succeeded", func() bool { return len(s.deliveries(DeliverySucceeded)) == 4 })
	if done, err = s.courier.Replay(t.Context(), s.bus, "hook", time.Time{}, true, ""); err != nil || done.Replayed != 3 || done.Skipped != 1 {
		t.Errorf("all: %+v, %v", done, err)
	}
	s.receiver.wait(t, 9)
	if done, err = s.courier.Replay(t.Context(), s.bus, "hook", time.Now().Add(time.Hour), true, ""); err != nil || done.Replayed != 0 {
		t.Errorf("from the future: %+v, %v", done, err)
	}
	large := s.deliveries("")[3]
	_, err = s.courier.Retry(t.Context(), s.bus, "hook", large.ID)
	code(t, err, core.CodePreconditionFailed)
}

// TestForgedEntries: what others write into the log is passed over, and what they send as an id too.
func TestForgedEntries(t *testing.T) {
	s := open(t)
	s.put(s.spec())
	q := s.bus.Lookup("webhook.hook.log")
	other := &journal{gateway: s.gateway, seal: s.courier.seal, owner: "another", name: "webhook.hook.log", q: q}
	if err := other.write(t.Context(), &entry{ID: "msg_forged"}, nil); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	s.bus.Append(q, &core.Message{Data: []byte("garbage")}, func(_ core.Receipt, err error) { written <- err })
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	s.publish("orders.new", core.Header{headerID: {"msg_forged 00"}}, "a")
	if c := s.receiver.wait(t, 1)[0]; c.id == "msg_forged" {
		t.Error("the id was taken")
	}
	s.idle()
	if all := s.deliveries(""); len(all) != 1 || all[0].ID == "msg_forged" {
		t.Errorf("the log shows %+v", all)
	}
}

// TestAddressIsCheckedWhenDialled: a name is no way around it.
func TestAddressIsCheckedWhenDialled(t *testing.T) {
	s := open(t)
	s.courier.guard.allowed = nil
	spec := s.spec()
	spec.URL = strings.Replace(s.receiver.URL, "127.0.0.1", "localhost", 1)
	spec.MaxAttempts = 1
	s.put(spec)
	s.publish("orders.new", nil, "a")
	eventually(t, "it has failed", func() bool { return len(s.deliveries(DeliveryFailed)) == 1 })
	if a := s.deliveries("")[0].Last; a.Error != errAddress.Error() {
		t.Errorf("the attempt is %+v", a)
	}
	if n := len(s.receiver.got()); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}

// TestLimit: there are no more than a thousand.
func TestLimit(t *testing.T) {
	s := open(t)
	s.put(s.spec())
	s.courier.mu.Lock()
	for i := len(s.courier.endpoints); i < maxEndpoints; i++ {
		name := fmt.Sprint("x", i)
		s.courier.endpoints[name] = newEndpoint(s.courier, &definition{Name: name, Spec: s.spec()})
	}
	s.courier.mu.Unlock()
	_, _, _, err := s.courier.Put(t.Context(), s.bus, "more", s.spec(), "")
	code(t, err, core.CodeResourceExhausted)
	s.put(s.spec())
	if all := s.courier.Endpoints(s.bus, "", maxEndpoints+1); len(all) != maxEndpoints {
		t.Errorf("%d are listed", len(all))
	}
}
