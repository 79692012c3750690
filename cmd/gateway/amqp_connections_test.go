package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"
)

func TestAMQPConnections(t *testing.T) {
	s := openSite(t, []string{"--amqp-channel-max", "7", "--amqp-frame-max", "8KiB"})
	before := time.Now().UnixMilli()
	c := s.dial(client.Table{"connection_name": "worker 7", "product": "test", "version": "1", "n": int32(5)})
	local := c.LocalAddr().String()
	name := local + " -> " + s.amqp
	first, second := s.channelOf(c), s.channelOf(c)
	s.dial(nil) // another, without a name
	got := s.object("connections/" + url.PathEscape(name))
	wantFields(t, got, map[string]any{
		"name": name, "user_provided_name": "worker 7", "user": "guest", "vhost": "/", "protocol": "AMQP 0-9-1", "auth_mechanism": "PLAIN", "ssl": false,
		"peer_host": "127.0.0.1", "host": "127.0.0.1", "channel_max": 7.0, "frame_max": 8192.0, "timeout": 10.0, "state": "running", "channels": 2.0, "type": "network",
	})
	properties := got["client_properties"].(map[string]any)
	wantFields(t, properties, map[string]any{"connection_name": "worker 7", "product": "test", "version": "1", "n": 5.0})
	if capabilities, _ := properties["capabilities"].(map[string]any); capabilities["basic.nack"] != true { // the client's own
		t.Errorf("capabilities are %v", properties["capabilities"])
	}
	if ends := fmt.Sprintf("127.0.0.1:%v -> 127.0.0.1:%v", got["peer_port"], got["port"]); ends != name {
		t.Errorf("the ports make it %s, want %s", ends, name)
	}
	if at := int64(got["connected_at"].(float64)); at < before || at > time.Now().UnixMilli() {
		t.Errorf("connected_at is %d, want a time since %d", at, before)
	}
	if all := s.list("connections"); len(all) != 2 || s.named("connections", name) == nil {
		t.Errorf("listed are %v, want two", all)
	}
	if page := s.object("connections?page=1&page_size=1&name=" + url.QueryEscape(local)); page["filtered_count"] != 1.0 || page["total_count"] != 2.0 {
		t.Errorf("the page is %v", page)
	}
	channelsOfAConnection(t, s, name, first, second)
}

// channelsOfAConnection goes on with the channels 1 and 2 of the connection called name.
func channelsOfAConnection(t *testing.T, s *site, name string, first, second *client.Channel) {
	t.Helper()
	s.declare(first, "q", false, nil)
	s.publish(first, "", "q", "one", "two")
	for _, step := range []error{first.Qos(5, 0, false), first.Qos(9, 0, true), second.Close()} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if _, err := first.Consume("q", "reader", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	path := "channels/" + url.PathEscape(name+" (1)")
	s.eventually("both are delivered", func() bool { return s.object(path)["messages_unacknowledged"] == 2.0 })
	wantFields(t, s.object(path), map[string]any{
		"name": name + " (1)", "number": 1.0, "user": "guest", "vhost": "/", "confirm": true, "transactional": false, "state": "running",
		"prefetch_count": 5.0, "global_prefetch_count": 9.0, "consumer_count": 1.0, "messages_unacknowledged": 2.0, "messages_unconfirmed": 0.0,
	})
	if of := s.list("connections/" + url.PathEscape(name) + "/channels"); len(of) != 1 || of[0]["number"] != 1.0 {
		t.Errorf("the connection's channels are %v, want the first", of)
	}
	if all := s.list("channels"); len(all) != 1 {
		t.Errorf("channels are %v, want one", all)
	}
	consumers := s.list("consumers")
	if len(consumers) != 1 {
		t.Fatalf("consumers are %v, want one", consumers)
	}
	wantFields(t, consumers[0], map[string]any{
		"consumer_tag": "reader", "queue": map[string]any{"name": "q", "vhost": "/"}, "ack_required": true, "exclusive": false, "prefetch_count": 5.0,
		"arguments": map[string]any{}, "active": true, "activity_status": "up",
	})
	details := consumers[0]["channel_details"].(map[string]any)
	wantFields(t, details, map[string]any{"name": name + " (1)", "number": 1.0, "connection_name": name, "peer_host": "127.0.0.1", "user": "guest"})
	if err := first.Cancel("reader", false); err != nil {
		t.Fatal(err)
	}
	if left := s.list("consumers"); len(left) != 0 {
		t.Errorf("consumers are %v after cancel-ok", left)
	}
}

func TestAMQPTransactionalChannel(t *testing.T) {
	s := openSite(t, nil)
	ch, err := s.dial(nil).Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Tx(); err != nil {
		t.Fatal(err)
	}
	wantFields(t, s.list("channels")[0], map[string]any{"transactional": true, "confirm": false})
}

// TestAMQPSingleActiveConsumer: which one it is is told as far as it is known.
func TestAMQPSingleActiveConsumer(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.declare(ch, "q", false, client.Table{"x-single-active-consumer": true})
	if _, err := ch.Consume("q", "a", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	wantFields(t, s.list("consumers")[0], map[string]any{"active": true, "activity_status": "single_active"})
	if _, err := ch.Consume("q", "b", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, k := range s.list("consumers") {
		wantFields(t, k, map[string]any{"active": nil, "activity_status": "unknown"})
	}
}

func TestAMQPConnectionIsClosed(t *testing.T) {
	s := openSite(t, nil)
	for name, c := range map[string]struct {
		reason string // X-Reason
		text   string
	}{
		"plain":       {"", "CONNECTION_FORCED - Closed via management plugin"},
		"with reason": {"maintenance at noon", "CONNECTION_FORCED - maintenance at noon"},
		"long reason": {strings.Repeat("n", 300), "CONNECTION_FORCED - " + strings.Repeat("n", 255-len("CONNECTION_FORCED - ")-3) + "..."},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			conn, other := s.dial(nil), s.dial(nil)
			ch := s.channelOf(conn)
			s.declare(ch, "held", false, nil)
			s.publish(ch, "", "held", "one")
			if _, ok, err := ch.Get("held", false); err != nil || !ok {
				t.Fatal(ok, err)
			}
			if _, err := ch.QueueDeclare("mine", false, false, true, false, nil); err != nil {
				t.Fatal(err)
			}
			closed := conn.NotifyClose(make(chan *client.Error, 1))
			path := "connections/" + url.PathEscape(conn.LocalAddr().String()+" -> "+s.amqp)
			a := s.do("DELETE", path, "", func(r *http.Request) {
				if c.reason != "" {
					r.Header.Set("X-Reason", c.reason)
				}
			})
			if a.status != http.StatusNoContent {
				t.Fatalf("DELETE: %d %s", a.status, a.body)
			}
			s.wantClosed(closed, 320, c.text)
			s.eventually("the connection is gone", func() bool { return s.do("GET", path, "").status == http.StatusNotFound })
			if other.IsClosed() {
				t.Error("another connection is closed too")
			}
			if n := s.ready("held"); n != 1 {
				t.Errorf("%d messages are ready, want the one that was held", n)
			}
			s.refused(s.do("GET", "queues/mine", ""), 404, "not-found", "")
			s.must(204, "DELETE", "queues/held", "")
		})
	}
}

// TestAMQPListingsUnderLoad lists everything while clients come, work and go: nothing may race, and nobody is held up.
func TestAMQPListingsUnderLoad(t *testing.T) {
	s := openSite(t, nil)
	s.must(201, "PUT", "queues/q", "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() { comeAndGo(ctx, t, s.amqp) })
	}
	paths := []string{"overview", "connections", "channels", "consumers", "queues", "queues/q", "exchanges", "bindings"}
	for round := 0; ctx.Err() == nil; round++ {
		path := paths[round%len(paths)]
		if a := s.do("GET", path, ""); a.status != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
		for _, c := range s.list("connections") {
			name := url.PathEscape(c["name"].(string))
			for _, path := range []string{"connections/" + name, "connections/" + name + "/channels"} {
				if a := s.do("GET", path, ""); a.status != http.StatusOK && a.status != http.StatusNotFound {
					t.Errorf("GET %s: %d %s", path, a.status, a.body)
				}
			}
		}
	}
	work.Wait()
}

// comeAndGo opens connections and channels, uses them and closes them, until ctx ends.
func comeAndGo(ctx context.Context, t *testing.T, address string) {
	for ctx.Err() == nil {
		conn, err := client.Dial("amqp://guest:guest@" + address + "/")
		if err != nil {
			t.Error(err)
			return
		}
		for range 3 {
			if err := useChannel(conn); err != nil {
				t.Error(err)
			}
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func useChannel(conn *client.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(3, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	if err := ch.Publish("", "q", false, false, client.Publishing{Body: []byte("x")}); err != nil {
		return err
	}
	select {
	case d := <-deliveries:
		if err := d.Ack(false); err != nil {
			return err
		}
	case <-time.After(50 * time.Millisecond): // another client has it
	}
	if _, err := ch.QueueDeclare("", false, false, true, false, nil); err != nil {
		return err
	}
	return ch.Close()
}
