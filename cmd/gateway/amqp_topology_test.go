package main

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// wantFields fails unless got has these fields with these values.
func wantFields(t *testing.T, got, want map[string]any) {
	t.Helper()
	for field, value := range want {
		if found, there := got[field]; !there || !reflect.DeepEqual(found, value) {
			t.Errorf("%s is %#v, want %#v (all: %v)", field, found, value, got)
		}
	}
}

func TestAMQPOverview(t *testing.T) {
	s := openSite(t, []string{"--amqp-product", "Portico", "--amqp-version", "9.8.7"})
	ch := s.channel()
	s.declare(ch, "jobs", false, nil)
	if err := ch.QueueBind("jobs", "k", "amq.direct", false, nil); err != nil {
		t.Fatal(err)
	}
	s.publish(ch, "", "jobs", "one", "two", "three")
	if _, ok, err := ch.Get("jobs", false); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := ch.Qos(1, 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("jobs", "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	s.eventually("both deliveries are told", func() bool {
		return reflect.DeepEqual(s.object("overview")["queue_totals"], map[string]any{"messages": 3.0, "messages_ready": 1.0, "messages_unacknowledged": 2.0})
	})
	got := s.object("overview")
	wantFields(t, got, map[string]any{
		"product_name": "Portico", "product_version": "9.8.7", "rabbitmq_version": "9.8.7",
		"object_totals": map[string]any{"connections": 1.0, "channels": 1.0, "consumers": 1.0, "exchanges": 7.0, "queues": 1.0, "bindings": 1.0},
	})
}

func TestAMQPExchanges(t *testing.T) {
	s := openSite(t, nil)
	body := `{"type":"topic","durable":"true","auto_delete":false,"internal":false,"arguments":{"alternate-exchange":"amq.fanout","n":1,"f":1.5,"deep":{"list":[true,"a"]}},"unknown":1}`
	if got := s.must(201, "PUT", "exchanges/or%2Fders", body); got != nil {
		t.Errorf("PUT answers %v, want nothing", got)
	}
	s.must(204, "PUT", "exchanges/or%2Fders", body)
	if err := s.channel().ExchangeDeclare("or/ders", "topic", true, false, false, false, client.Table{"alternate-exchange": "amq.fanout"}); err != nil {
		t.Errorf("it is not what a client would declare: %v", err)
	}
	wantFields(t, s.object("exchanges/or%2Fders"), map[string]any{
		"name": "or/ders", "vhost": "/", "type": "topic", "durable": true, "auto_delete": false, "internal": false, "policy": nil,
		"arguments": map[string]any{"alternate-exchange": "amq.fanout", "n": 1.0, "f": 1.5, "deep": map[string]any{"list": []any{true, "a"}}},
	})
	wantFields(t, s.object("exchanges/amq.default"), map[string]any{"name": "", "type": "direct"})
	if s.named("exchanges", "or/ders") == nil || s.named("exchanges", "amq.topic") == nil || len(s.list("exchanges")) != 8 {
		t.Errorf("listed are %v", s.list("exchanges"))
	}
	s.must(201, "PUT", "exchanges/plain", "")
	wantFields(t, s.object("exchanges/plain"), map[string]any{"type": "direct", "durable": false})

	s.must(201, "POST", "bindings/e/or%2Fders/e/plain", `{"routing_key":"k"}`)
	s.refused(s.do("DELETE", "exchanges/or%2Fders?if-unused=true", ""), 409, "precondition-failed", "exchange 'or/ders' in vhost '/' in use")
	s.must(204, "DELETE", "exchanges/or%2Fders", "")
	s.must(204, "DELETE", "exchanges/plain?if-unused=true", "")
	s.refused(s.do("GET", "exchanges/plain", ""), 404, "not-found", "no exchange 'plain' in vhost '/'")
}

func TestAMQPQueues(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	body := `{"durable":true,"auto_delete":false,"arguments":{"x-max-length":10,"x-overflow":"reject-publish","x-custom":"kept"}}`
	s.must(201, "PUT", "queues/a%2Fb", body)
	s.must(204, "PUT", "queues/a%2Fb", body)
	s.declare(ch, "a/b", true, client.Table{"x-max-length": int32(10), "x-overflow": "reject-publish"})
	s.publish(ch, "", "a/b", "one", "three")
	if _, err := ch.Consume("a/b", "reader", false, true, false, false, client.Table{"x-priority": int32(3)}); err != nil {
		t.Fatal(err)
	}
	s.eventually("both are delivered", func() bool { return s.object("queues/a%2Fb")["messages_unacknowledged"] == 2.0 })
	got := s.object("queues/a%2Fb")
	wantFields(t, got, map[string]any{
		"name": "a/b", "vhost": "/", "type": "classic", "durable": true, "auto_delete": false, "exclusive": false, "state": "running",
		"arguments": map[string]any{"x-max-length": 10.0, "x-overflow": "reject-publish", "x-custom": "kept"},
		"policy":    nil, "operator_policy": nil, "effective_policy_definition": map[string]any{},
		"messages_ready": 0.0, "messages_unacknowledged": 2.0, "messages": 2.0, "consumers": 1.0,
	})
	if bytes := got["message_bytes"].(float64); bytes < 8 {
		t.Errorf("message_bytes is %v, want at least the payloads", bytes)
	}
	details := got["consumer_details"].([]any)
	if len(details) != 1 {
		t.Fatalf("consumer_details are %v, want one", details)
	}
	wantFields(t, details[0].(map[string]any), map[string]any{
		"consumer_tag": "reader", "ack_required": true, "exclusive": true, "prefetch_count": 0.0, "priority": 3.0, "active": true, "activity_status": "up",
		"arguments": map[string]any{"x-priority": 3.0}, "queue": map[string]any{"name": "a/b", "vhost": "/"},
	})
	if _, there := s.named("queues", "a/b")["consumer_details"]; there {
		t.Error("the list tells consumer_details")
	}
	s.refused(s.do("DELETE", "queues/a%2Fb?if-unused=true", ""), 409, "precondition-failed", "queue 'a/b' in vhost '/' in use")
	if err := ch.Cancel("reader", false); err != nil {
		t.Fatal(err)
	}
	s.publish(ch, "", "a/b", "four")
	s.refused(s.do("DELETE", "queues/a%2Fb?if-empty=true", ""), 409, "precondition-failed", "queue 'a/b' in vhost '/' not empty")
	s.must(204, "DELETE", "queues/a%2Fb/contents", "")
	if n := s.ready("a/b"); n != 0 {
		t.Errorf("%d messages are ready after a purge", n)
	}
	s.must(204, "DELETE", "queues/a%2Fb?if-empty=true&if-unused=true", "")
	s.refused(s.do("GET", "queues/a%2Fb", ""), 404, "not-found", "no queue 'a/b' in vhost '/'")
}

func TestAMQPExclusiveQueue(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	if _, err := ch.QueueDeclare("mine", false, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	owner := s.list("connections")[0]["name"]
	got := s.object("queues/mine")
	wantFields(t, got, map[string]any{"exclusive": true})
	if details, _ := got["owner_pid_details"].(map[string]any); details["name"] != owner {
		t.Errorf("owner_pid_details are %v, want the connection %v", details, owner)
	}
	for method, path := range map[string]string{"DELETE": "queues/mine", "PUT": "queues/mine", "POST": "bindings/e/amq.direct/q/mine"} {
		s.refused(s.do(method, path, ""), 409, "resource-locked", "cannot obtain exclusive access to locked queue 'mine'")
	}
}

func TestAMQPBindings(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.must(201, "PUT", "queues/q", "")
	s.must(201, "PUT", "exchanges/x", `{"type":"topic"}`)
	for _, c := range []struct{ path, body, key string }{
		{"bindings/e/x/q/q", "", "~"},
		{"bindings/e/x/q/q", `{"routing_key":"a.*","arguments":{}}`, "a.%2A"},
		{"bindings/e/x/q/q", `{"routing_key":"a~b/c d"}`, "a%7Eb%2Fc+d"},
		{"bindings/e/amq.topic/e/x", `{"routing_key":"#","arguments":[]}`, "%23"},
	} {
		if got := s.must(201, "POST", c.path, c.body).(map[string]any); got["properties_key"] != c.key {
			t.Errorf("%s has the key %v, want %s", c.body, got["properties_key"], c.key)
		}
	}
	withArguments := s.must(201, "POST", "bindings/e/amq.headers/q/q", `{"arguments":{"x-match":"any","n":1}}`).(map[string]any)
	key := withArguments["properties_key"].(string)
	if !strings.HasPrefix(key, "~") || len(key) < 10 {
		t.Errorf("a binding with arguments has the key %q", key)
	}
	s.publish(ch, "amq.topic", "a.b", "by both")
	if d := s.get(ch, "q"); string(d.Body) != "by both" {
		t.Errorf("got %q", d.Body)
	}
	for path, count := range map[string]int{
		"bindings": 6, "queues/q/bindings": 5, "exchanges/x/bindings/source": 3, "exchanges/x/bindings/destination": 1, "exchanges/amq.default/bindings/source": 1,
		"bindings/e/x/q/q": 3, "bindings/e/amq.topic/e/x": 1, "bindings/e/amq.default/q/q": 1, "bindings/e/amq.topic/q/q": 0,
	} {
		if got := s.list(path); len(got) != count {
			t.Errorf("GET %s lists %v, want %d", path, got, count)
		}
	}
	wantFields(t, s.object("bindings/e/amq.headers/q/q/"+key), map[string]any{
		"source": "amq.headers", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "",
		"arguments": map[string]any{"x-match": "any", "n": 1.0}, "properties_key": key,
	})
	wantFields(t, s.object("bindings/e/amq.topic/e/x/%2523"), map[string]any{"destination_type": "exchange", "routing_key": "#"})
	for _, path := range []string{
		"bindings/e/x/q/q/~",                // no key
		"bindings/e/x/q/q/a.%252A",          // escaped twice, as it has to be
		"bindings/e/x/q/q/a%7Eb%2Fc%20d",    // the plain key, escaped once
		"bindings/e/amq.headers/q/q/" + key, // with arguments
		"bindings/e/amq.topic/e/x/%2523",
	} {
		s.must(204, "DELETE", path, "")
		s.refused(s.do("DELETE", path, ""), 404, "not-found", "")
	}
	if got := s.list("bindings"); len(got) != 1 || got[0]["source"] != "" {
		t.Errorf("left are %v, want that of the default exchange", got)
	}
}

func TestAMQPPublish(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.must(201, "PUT", "queues/q", "")
	s.must(201, "POST", "bindings/e/amq.topic/q/q", `{"routing_key":"a.*"}`)
	routed := func(path, body string) any { return s.must(200, "POST", path, body).(map[string]any)["routed"] }

	full := `{"routing_key":"a.b","payload":"hello","payload_encoding":"string","properties":{"content_type":"text/plain","delivery_mode":2,"priority":7,
		"correlation_id":"c","reply_to":"r","expiration":"60000","message_id":"m","timestamp":1700000000,"type":"t","app_id":"app","headers":{"n":5,"s":"x","deep":{"l":[1]}}}}`
	if routed("exchanges/amq.topic/publish", full) != true {
		t.Error("a message that a queue took is not routed")
	}
	d := s.get(ch, "q")
	got := client.Publishing{
		ContentType: d.ContentType, DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration,
		MessageId: d.MessageId, Timestamp: d.Timestamp.UTC(), Type: d.Type, AppId: d.AppId, Headers: d.Headers, Body: d.Body,
	}
	want := got
	want.ContentType, want.DeliveryMode, want.Priority, want.CorrelationId, want.ReplyTo, want.Expiration = "text/plain", 2, 7, "c", "r", "60000"
	want.MessageId, want.Type, want.AppId, want.Body = "m", "t", "app", []byte("hello")
	want.Headers = client.Table{"n": int64(5), "s": "x", "deep": client.Table{"l": []any{int64(1)}}}
	if !reflect.DeepEqual(got, want) || d.Timestamp.Unix() != 1700000000 || d.RoutingKey != "a.b" || d.Exchange != "amq.topic" {
		t.Errorf("a client got %+v", d)
	}
	if routed("exchanges/amq.default/publish", `{"routing_key":"q","payload":"AAH/","payload_encoding":"base64"}`) != true {
		t.Error("a message to a queue is not routed")
	}
	if d := s.get(ch, "q"); string(d.Body) != "\x00\x01\xff" {
		t.Errorf("base64 became %q", d.Body)
	}
	if routed("exchanges/amq.topic/publish", `{"routing_key":"b","payload":"lost","properties":[]}`) != false {
		t.Error("a message that nobody wants is routed")
	}
	s.must(201, "PUT", "queues/full", `{"arguments":{"x-max-length":0,"x-overflow":"reject-publish"}}`)
	s.refused(s.do("POST", "exchanges/amq.default/publish", `{"routing_key":"full","payload":"x"}`), 507, "resource-exhausted", "did not keep")
	large := strings.Repeat("x", 2<<20)
	if routed("exchanges/amq.default/publish", `{"routing_key":"q","payload":"`+large+`"}`) != true {
		t.Error("a large message is not routed")
	}
	if d := s.get(ch, "q"); string(d.Body) != large {
		t.Errorf("a large message came with %d bytes", len(d.Body))
	}
}

func TestAMQPRefusals(t *testing.T) {
	s := openSite(t, nil, func(c *core.Config) { c.MaxMessage = 64 << 10 })
	s.must(201, "PUT", "queues/q", `{"durable":true}`)
	s.must(201, "PUT", "exchanges/x", `{"type":"topic"}`)
	s.must(201, "PUT", "exchanges/inner", `{"internal":true}`)
	long, nested := strings.Repeat("n", 256), strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 40)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code, detail       string
	}{
		"no resource":             {"GET", "nothing", "", 404, "not-found", ""},
		"nothing":                 {"GET", "", "", 404, "not-found", ""},
		"method":                  {"POST", "exchanges/x", "", 405, "invalid-argument", "POST"},
		"method of a list":        {"DELETE", "queues", "", 405, "invalid-argument", "DELETE"},
		"empty name":              {"GET", "queues/", "", 404, "not-found", ""},
		"long name":               {"PUT", "queues/" + long, "", 400, "invalid-argument", "255"},
		"line end":                {"PUT", "queues/%0A", "", 400, "invalid-argument", "line ends"},
		"percent sign":            {"GET", "queues/%25zz/bindings", "", 404, "not-found", ""},
		"no JSON":                 {"PUT", "queues/new", "{", 400, "invalid-argument", "JSON"},
		"more than JSON":          {"PUT", "queues/new", "{} {}", 400, "invalid-argument", "follows"},
		"JSON of another kind":    {"PUT", "queues/new", `{"durable":7}`, 400, "invalid-argument", "true or false"},
		"nested too deep":         {"PUT", "queues/new", `{"arguments":` + nested + `}`, 400, "invalid-argument", "deeper"},
		"huge number":             {"PUT", "queues/new", `{"arguments":{"n":1e999}}`, 400, "invalid-argument", "too large"},
		"long argument":           {"PUT", "queues/new", `{"arguments":{"` + long + `":1}}`, 400, "invalid-argument", "255"},
		"another durable":         {"PUT", "queues/q", `{"durable":false}`, 409, "precondition-failed", "inequivalent arg 'durable' for queue 'q'"},
		"another argument":        {"PUT", "queues/q", `{"durable":true,"arguments":{"x-max-length":5}}`, 409, "precondition-failed", "inequivalent arg 'x-max-length'"},
		"bad argument":            {"PUT", "queues/new", `{"arguments":{"x-max-length":"5"}}`, 400, "invalid-argument", "invalid arg 'x-max-length'"},
		"reserved queue":          {"PUT", "queues/amq.mine", "", 403, "permission-denied", "reserved prefix"},
		"reply queue":             {"PUT", "queues/amq.rabbitmq.reply-to", "", 403, "permission-denied", "reserved prefix"},
		"delete no queue":         {"DELETE", "queues/none", "", 404, "not-found", "no queue 'none'"},
		"purge no queue":          {"DELETE", "queues/none/contents", "", 404, "not-found", "no queue 'none'"},
		"bindings of no queue":    {"GET", "queues/none/bindings", "", 404, "not-found", "no queue 'none'"},
		"another type":            {"PUT", "exchanges/x", `{"type":"fanout"}`, 409, "precondition-failed", "inequivalent arg 'type' for exchange 'x'"},
		"no such type":            {"PUT", "exchanges/new", `{"type":"ring"}`, 400, "invalid-argument", "unknown exchange type 'ring'"},
		"reserved exchange":       {"PUT", "exchanges/amq.mine", "", 403, "permission-denied", "reserved prefix"},
		"default exchange":        {"PUT", "exchanges/amq.default", "", 403, "permission-denied", "default exchange"},
		"delete amq.topic":        {"DELETE", "exchanges/amq.topic", "", 403, "permission-denied", "system exchange"},
		"delete no exchange":      {"DELETE", "exchanges/none", "", 404, "not-found", "no exchange 'none'"},
		"bindings of no exchange": {"GET", "exchanges/none/bindings/source", "", 404, "not-found", "no exchange 'none'"},
		"bind to no queue":        {"POST", "bindings/e/x/q/none", "", 404, "not-found", "no queue 'none'"},
		"bind from no exchange":   {"POST", "bindings/e/none/q/q", "", 404, "not-found", "no exchange 'none'"},
		"bind to no exchange":     {"POST", "bindings/e/x/e/none", "", 404, "not-found", "no exchange 'none'"},
		"bind the default":        {"POST", "bindings/e/amq.default/q/q", "", 403, "permission-denied", "default exchange"},
		"unbind the default":      {"DELETE", "bindings/e/amq.default/q/q/q", "", 403, "permission-denied", "default exchange"},
		"bad match":               {"POST", "bindings/e/amq.headers/q/q", `{"arguments":{"x-match":"some"}}`, 400, "invalid-argument", "x-match"},
		"long key":                {"POST", "bindings/e/x/q/q", `{"routing_key":"` + long + `"}`, 400, "invalid-argument", "255"},
		"publish to no exchange":  {"POST", "exchanges/none/publish", `{"payload":""}`, 404, "not-found", "no exchange 'none'"},
		"publish internally":      {"POST", "exchanges/inner/publish", `{"payload":""}`, 403, "permission-denied", "internal"},
		"bad encoding":            {"POST", "exchanges/x/publish", `{"payload":"","payload_encoding":"hex"}`, 400, "invalid-argument", "payload_encoding"},
		"bad base64":              {"POST", "exchanges/x/publish", `{"payload":"?","payload_encoding":"base64"}`, 400, "invalid-argument", "base64"},
		"unknown property":        {"POST", "exchanges/x/publish", `{"properties":{"colour":"red"}}`, 400, "invalid-argument", "colour"},
		"long property":           {"POST", "exchanges/x/publish", `{"properties":{"message_id":"` + long + `"}}`, 400, "invalid-argument", "message_id"},
		"bad expiration":          {"POST", "exchanges/x/publish", `{"properties":{"expiration":"soon"}}`, 400, "invalid-argument", "invalid expiration"},
		"another user":            {"POST", "exchanges/x/publish", `{"properties":{"user_id":"ann"}}`, 400, "invalid-argument", "user_id"},
		"large message":           {"POST", "exchanges/x/publish", `{"payload":"` + strings.Repeat("x", 64<<10+1) + `"}`, 413, "too-large", "65536"},
		"no page":                 {"GET", "queues?page=0", "", 400, "invalid-argument", "page"},
		"page out of range":       {"GET", "queues?page=2", "", 400, "invalid-argument", "out of range"},
		"large page":              {"GET", "queues?page=1&page_size=501", "", 400, "invalid-argument", "500"},
		"bad pattern":             {"GET", "queues?page=1&use_regex=true&name=(", "", 400, "invalid-argument", "regular expression"},
		"no connection":           {"GET", "connections/none", "", 404, "not-found", "none"},
		"close no connection":     {"DELETE", "connections/none", "", 404, "not-found", "none"},
		"channels of none":        {"GET", "connections/none/channels", "", 404, "not-found", "none"},
		"no channel":              {"GET", "channels/none", "", 404, "not-found", "none"},
		"no policy":               {"GET", "policies/none", "", 404, "not-found", "no policy 'none'"},
		"delete no policy":        {"DELETE", "policies/none", "", 404, "not-found", "no policy 'none'"},
		"no operator policy":      {"DELETE", "operator-policies/none", "", 404, "not-found", "no policy 'none'"},
		"policy of nothing":       {"PUT", "policies/p", "", 400, "invalid-argument", "JSON"},
		"policy without pattern":  {"PUT", "policies/p", `{"definition":{"expires":1}}`, 400, "invalid-argument", `Key "pattern" not found`},
		"policy with a bad key":   {"PUT", "policies/p", `{"pattern":"","definition":{"colour":"red"}}`, 400, "invalid-argument", "colour"},
		"operators name no DLX":   {"PUT", "operator-policies/p", `{"pattern":"","definition":{"dead-letter-exchange":"x"}}`, 400, "invalid-argument", "dead-letter-exchange"},
		"bad policy pattern":      {"PUT", "policies/p", `{"pattern":"(","definition":{"expires":1}}`, 400, "invalid-argument", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			s.refused(s.do(c.method, c.path, c.body), c.status, c.code, c.detail)
		})
	}
	for _, leftover := range []string{"queues/new", "exchanges/new"} {
		if a := s.do("GET", leftover, ""); a.status != http.StatusNotFound {
			t.Errorf("a refused declaration left %s: %s", leftover, a.body)
		}
	}
}

func TestAMQPPages(t *testing.T) {
	s := openSite(t, nil)
	for _, name := range []string{"a1", "a2", "a3", "b1"} {
		s.must(201, "PUT", "queues/"+name, "")
	}
	for query, want := range map[string]struct {
		names                            string
		items, filtered, page, pages, by float64
	}{
		"page=1":             {"a1 a2 a3 b1", 4, 4, 1, 1, 100},
		"page=1&page_size=3": {"a1 a2 a3", 3, 4, 1, 2, 3},
		"page=2&page_size=3": {"b1", 1, 4, 2, 2, 3},
		"page=1&name=1":      {"a1 b1", 2, 2, 1, 1, 100},
		"page=1&name=%5Ea&use_regex=true&page_size=2": {"a1 a2", 2, 3, 1, 2, 2},
		"page=1&name=zzz": {"", 0, 0, 1, 1, 100},
	} {
		got := s.object("queues?" + query)
		var names []string
		for _, item := range got["items"].([]any) {
			names = append(names, item.(map[string]any)["name"].(string))
		}
		if strings.Join(names, " ") != want.names {
			t.Errorf("%s lists %v, want %s", query, names, want.names)
		}
		wantFields(t, got, map[string]any{
			"item_count": want.items, "filtered_count": want.filtered, "total_count": 4.0, "page": want.page, "page_count": want.pages, "page_size": want.by,
		})
	}
}

// TestAMQPPermission: only those who may do everything.
func TestAMQPPermission(t *testing.T) {
	s := openSite(t, nil, coretest.Users(
		core.User{Name: "admin", Password: "a"},
		core.User{Name: "named", Password: "n", Publish: []string{">", "$queue.>"}, Subscribe: []string{"$queue.>", ">"}},
		core.User{Name: "reader", Password: "r", Publish: []string{"orders.>"}},
		core.User{Name: "writer", Password: "w", Subscribe: []string{"*.>"}},
		core.User{Name: "noqueues", Password: "q", Publish: []string{">"}, Subscribe: []string{">"}},
	))
	as := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for user, password := range map[string]string{"admin": "a", "named": "n"} {
		for _, c := range [][2]string{{"GET", "overview"}, {"GET", "queues"}, {"PUT", "queues/q-" + user}, {"DELETE", "queues/q-" + user}} {
			if a := s.do(c[0], c[1], "", as(user, password)); a.status >= 300 {
				t.Errorf("%s %s by %s: %d %s", c[0], c[1], user, a.status, a.body)
			}
		}
	}
	for user, password := range map[string]string{"reader": "r", "writer": "w", "noqueues": "q"} {
		for _, c := range [][2]string{{"GET", "overview"}, {"GET", "connections"}, {"PUT", "queues/q"}, {"PUT", "policies/p"}, {"POST", "exchanges/orders/publish"}} {
			s.refused(s.do(c[0], c[1], "", as(user, password)), 403, "permission-denied", "everything")
		}
	}
	s.refused(s.do("GET", "overview", ""), 401, "unauthenticated", "")
	s.refused(s.do("GET", "overview", "", as("admin", "x")), 401, "unauthenticated", "")
}

func TestAMQPDoorIsOff(t *testing.T) {
	s := openSite(t, []string{"--amqp-listen", "off"})
	for _, path := range []string{"", "overview", "queues"} {
		s.refused(s.do("GET", path, ""), 404, "not-found", "")
	}
}
