package core

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAcksHaveTheirTime: whoever is not answered in time is told so, in order, and what comes later is nobody's.
func TestAcksHaveTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a acks
		var told []int
		tails := map[int]string{}
		for i := range 5 {
			tail, _, err := a.expect(func(p pubAck, err error) {
				if i != 2 && AsError(err).Code != CodeUnavailable || i == 2 && (err != nil || p.Sequence != 7) {
					t.Errorf("%d is told %+v, %v", i, p, err)
				}
				told = append(told, i)
				a.settle()
			})
			if err != nil {
				t.Fatal(err)
			}
			tails[i] = tail[len(ackMark):]
			time.Sleep(time.Second)
		}
		for range 2 { // once
			a.arrived(tails[2], []byte(`{"stream":"S","seq":7}`))
		}
		a.arrived("no number", nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		a.arrived(tails[0], []byte(`{"stream":"S","seq":8}`))
		time.Sleep(ackPatience)
		synctest.Wait()
		if want := []int{0, 2, 1, 3, 4}; len(told) != len(want) || told[1] != 2 && told[0] != 2 {
			t.Errorf("told %v", told)
		}
		if a.open != 0 || len(a.waiting) != 0 || a.first != nil || a.last != nil || a.timer != nil {
			t.Errorf("left: %d open, %d waiting", a.open, len(a.waiting))
		}
	})
}

func TestAcksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a acks
		late := 0
		for range maxAcks {
			if _, _, err := a.expect(func(pubAck, error) { late++; a.settle() }); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := a.expect(nil); err == nil || AsError(err).Code != CodeResourceExhausted {
			t.Errorf("one too many: %v", err)
		}
		time.Sleep(ackPatience)
		synctest.Wait()
		if late != maxAcks {
			t.Errorf("%d are told", late)
		}
		if _, n, err := a.expect(nil); err != nil || a.take(n) == nil {
			t.Errorf("when there is room: %v", err)
		}
	})
}

// TestOneSyncForMany: who comes while a sync is under way shares the next.
func TestOneSyncForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s syncs
		calls, good, bad := 0, 0, 0
		release := make(chan error)
		sync := func(context.Context) error { calls++; return <-release }
		for range 100 {
			s.wait(sync, func(err error) {
				if err == nil {
					good++
				} else if AsError(err).Code == CodeUnavailable {
					bad++
				}
			})
			synctest.Wait()
		}
		release <- nil
		synctest.Wait()
		release <- errors.New("disk")
		synctest.Wait()
		if calls != 2 || good != 1 || bad != 99 || s.running {
			t.Errorf("%d syncs, %d good, %d bad", calls, good, bad)
		}
	})
}

func TestReplySubjectsOfStreamsAreNotShown(t *testing.T) {
	r := newRequests()
	tail, number, err := r.acks.expect(func(pubAck, error) { t.Error("a door has answered") })
	if err != nil {
		t.Fatal(err)
	}
	if got := shownReply(r.prefix + tail); got != "" {
		t.Errorf("shown: %q", got)
	}
	for _, reply := range []string{"", "a.b", "_INBOX.x.ack-1", r.prefix + "7"} {
		if got := shownReply(reply); got != reply {
			t.Errorf("%q is shown as %q", reply, got)
		}
	}
	if ours, _ := r.answer(&Message{Subject: r.prefix + tail, Data: []byte(`{"stream":"S","seq":1}`)}); !ours {
		t.Error("a door's publish to such an inbox goes to the bus")
	}
	if r.acks.take(number) == nil {
		t.Error("and is taken for the stream's")
	}
}

func FuzzPubAck(f *testing.F) {
	for _, s := range []string{`{"stream":"S","seq":1}`, `{"stream":"S","seq":1,"duplicate":true}`, `{"error":{"code":400,"err_code":10071,"description":"x"},"stream":"S","seq":0}`, `{`, ``, `[]`, `null`,
		`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, ok := parsePubAck(data)
		if ok && (a.Stream == "" || (a.Sequence == 0) != (a.failure() != nil)) {
			t.Errorf("%q is taken for %+v", data, a)
		}
	})
}
