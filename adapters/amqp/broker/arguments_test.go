package broker_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func ptr[T any](v T) *T { return &v }

const tenYears = 315_360_000_000

func parse(args wire.Table) (broker.QueueArguments, error) {
	return broker.ParseQueueArguments("q", "/v", args, true, false, false)
}

func TestQueueArgumentsThatAreTaken(t *testing.T) {
	type T = wire.Table
	type A = broker.QueueArguments
	quorum, stream := func(t T) T { t["x-queue-type"] = "quorum"; return t }, func(t T) T { t["x-queue-type"] = "stream"; return t }
	cases := map[string]struct {
		args T
		want A
	}{
		"none":             {nil, A{Type: broker.Classic}},
		"unknown ones":     {T{"x-what": "ever", "y": nil}, A{Type: broker.Classic}},
		"type classic":     {T{"x-queue-type": "classic"}, A{Type: broker.Classic}},
		"type quorum":      {quorum(T{}), A{Type: broker.Quorum}},
		"type stream":      {stream(T{}), A{Type: broker.Stream}},
		"message ttl":      {T{"x-message-ttl": int8(5)}, A{Type: broker.Classic, MessageTTL: ptr(5 * time.Millisecond)}},
		"message ttl zero": {T{"x-message-ttl": uint32(0)}, A{Type: broker.Classic, MessageTTL: ptr(time.Duration(0))}},
		"message ttl most": {T{"x-message-ttl": int64(tenYears)}, A{Type: broker.Classic, MessageTTL: ptr(tenYears * time.Millisecond)}},
		"expires":          {T{"x-expires": uint16(60000)}, A{Type: broker.Classic, Expires: ptr(time.Minute)}},
		"lengths": {T{"x-max-length": int16(0), "x-max-length-bytes": int64(math.MaxInt64)},
			A{Type: broker.Classic, MaxLength: ptr(int64(0)), MaxLengthBytes: ptr(int64(math.MaxInt64))}},
		"overflow":          {T{"x-overflow": "reject-publish-dlx"}, A{Type: broker.Classic, Overflow: broker.RejectPublishDLX}},
		"overflow of old":   {T{"x-overflow": "drop-head"}, A{Type: broker.Classic, Overflow: broker.DropHead}},
		"priority":          {T{"x-max-priority": uint8(255)}, A{Type: broker.Classic, MaxPriority: ptr(uint8(255))}},
		"priority zero":     {T{"x-max-priority": int32(0)}, A{Type: broker.Classic, MaxPriority: ptr(uint8(1))}},
		"single active":     {T{"x-single-active-consumer": true}, A{Type: broker.Classic, SingleActiveConsumer: true}},
		"not single active": {T{"x-single-active-consumer": false}, A{Type: broker.Classic}},
		"dead letters": {T{"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "k"},
			A{Type: broker.Classic, DeadLetterExchange: ptr("dlx"), DeadLetterRoutingKey: ptr("k")}},
		"dead letters to the default exchange": {T{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": ""},
			A{Type: broker.Classic, DeadLetterExchange: ptr(""), DeadLetterRoutingKey: ptr("")}},
		"consumer timeout":          {T{"x-consumer-timeout": int64(1000)}, A{Type: broker.Classic, ConsumerTimeout: ptr(time.Second)}},
		"consumer timeout, endless": {T{"x-consumer-timeout": int64(math.MaxInt64)}, A{Type: broker.Classic, ConsumerTimeout: ptr(time.Duration(math.MaxInt64))}},
		"consumer timeout, none":    {T{"x-consumer-timeout": "soon"}, A{Type: broker.Classic}},
		"placement, classic": {T{"x-queue-mode": "lazy", "x-queue-version": int32(2), "x-queue-master-locator": "anything", "x-queue-leader-locator": "balanced"},
			A{Type: broker.Classic}},
		"quorum": {quorum(T{"x-delivery-limit": int32(5), "x-dead-letter-exchange": "d", "x-dead-letter-strategy": "at-least-once",
			"x-overflow": "reject-publish", "x-quorum-initial-group-size": int32(3), "x-max-in-memory-length": int32(0),
			"x-max-in-memory-bytes": int32(1), "x-queue-leader-locator": "random", "x-single-active-consumer": true, "x-expires": int32(1)}),
			A{Type: broker.Quorum, DeliveryLimit: ptr(int64(5)), DeadLetterExchange: ptr("d"), DeadLetterStrategy: broker.AtLeastOnce,
				Overflow: broker.RejectPublish, SingleActiveConsumer: true, Expires: ptr(time.Millisecond)}},
		"quorum, overflow without meaning": {quorum(T{"x-overflow": "reject-publish-dlx"}), A{Type: broker.Quorum, Overflow: broker.DropHead}},
		"quorum, no delivery limit":        {quorum(T{"x-delivery-limit": int32(-1)}), A{Type: broker.Quorum}},
		"quorum, delivery limit zero":      {quorum(T{"x-delivery-limit": int32(0)}), A{Type: broker.Quorum, DeliveryLimit: ptr(int64(0))}},
		"stream": {stream(T{"x-max-length-bytes": int32(9), "x-max-age": "7D", "x-stream-max-segment-size-bytes": int64(3_000_000_000),
			"x-stream-filter-size-bytes": int32(16), "x-initial-cluster-size": int32(1), "x-queue-leader-locator": "client-local"}),
			A{Type: broker.Stream, MaxLengthBytes: ptr(int64(9)), MaxAge: ptr(7 * 24 * time.Hour), MaxSegmentBytes: ptr(int64(3_000_000_000)), FilterBytes: ptr(int64(16))}},
		"filter size of no stream": {T{"x-stream-filter-size-bytes": "any"}, A{Type: broker.Classic}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := parse(c.args); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestQueueArgumentsThatAreRefused(t *testing.T) {
	type T = wire.Table
	cases := map[string]struct {
		args T
		text string // after "invalid arg '...' for queue 'q' in vhost '/v'"
	}{
		"ttl as text":              {T{"x-message-ttl": "60000"}, `x-message-ttl: "expected integer, got longstr"`},
		"ttl as float":             {T{"x-message-ttl": 5.0}, `x-message-ttl: "expected integer, got double"`},
		"ttl void":                 {T{"x-message-ttl": nil}, `x-message-ttl: "expected integer, got void"`},
		"ttl negative":             {T{"x-message-ttl": int32(-1)}, `x-message-ttl: {value_negative,-1}`},
		"ttl above ten years":      {T{"x-message-ttl": int64(tenYears + 1)}, `x-message-ttl: {value_too_large,315360000001}`},
		"expires zero":             {T{"x-expires": int64(0)}, `x-expires: {value_zero,0}`},
		"expires negative":         {T{"x-expires": int8(-1)}, `x-expires: {value_negative,-1}`},
		"expires above":            {T{"x-expires": int64(tenYears + 1)}, `x-expires: {value_too_large,315360000001}`},
		"expires bool":             {T{"x-expires": true}, `x-expires: "expected integer, got bool"`},
		"length negative":          {T{"x-max-length": int16(-2)}, `x-max-length: {value_negative,-2}`},
		"length as text":           {T{"x-max-length": "1"}, `x-max-length: "expected integer, got longstr"`},
		"bytes negative":           {T{"x-max-length-bytes": int64(-2)}, `x-max-length-bytes: {value_negative,-2}`},
		"overflow unknown":         {T{"x-overflow": "drop-tail"}, `x-overflow: invalid_overflow`},
		"overflow a number":        {T{"x-overflow": int32(1)}, `x-overflow: {unacceptable_type,signedint}`},
		"priority above":           {T{"x-max-priority": int16(256)}, `x-max-priority: {max_value_exceeded,256}`},
		"priority negative":        {T{"x-max-priority": int16(-1)}, `x-max-priority: {value_negative,-1}`},
		"priority as text":         {T{"x-max-priority": "9"}, `x-max-priority: "expected integer, got longstr"`},
		"single active as text":    {T{"x-single-active-consumer": "true"}, `x-single-active-consumer: {unacceptable_type,longstr}`},
		"key without exchange":     {T{"x-dead-letter-routing-key": "k"}, `x-dead-letter-routing-key: routing_key_but_no_dlx_defined`},
		"key a number":             {T{"x-dead-letter-routing-key": int64(1), "x-dead-letter-exchange": "x"}, `x-dead-letter-routing-key: {unacceptable_type,long}`},
		"type unknown":             {T{"x-queue-type": "mirrored"}, `x-queue-type: "unsupported queue type 'mirrored'"`},
		"type a bool":              {T{"x-queue-type": false}, `x-queue-type: {unacceptable_type,bool}`},
		"mode unknown":             {T{"x-queue-mode": "eager"}, `x-queue-mode: "unsupported queue mode 'eager'"`},
		"mode a number":            {T{"x-queue-mode": int32(1)}, `x-queue-mode: {unacceptable_type,signedint}`},
		"version three":            {T{"x-queue-version": int32(3)}, `x-queue-version: "unsupported queue version '3'"`},
		"version as text":          {T{"x-queue-version": "2"}, `x-queue-version: "expected integer, got longstr"`},
		"locator unknown":          {T{"x-queue-leader-locator": "here"}, `x-queue-leader-locator: invalid_queue_locator_arg`},
		"the first in their order": {T{"x-max-length": "a", "x-message-ttl": "a", "x-delivery-limit": int32(1)}, `x-message-ttl: "expected integer, got longstr"`},

		"delivery limit, classic": {T{"x-delivery-limit": int32(1)}, `x-delivery-limit of queue type rabbit_classic_queue`},
		"strategy, classic":       {T{"x-dead-letter-strategy": "at-most-once"}, `x-dead-letter-strategy of queue type rabbit_classic_queue`},
		"group size, classic":     {T{"x-quorum-initial-group-size": int32(1)}, `x-quorum-initial-group-size of queue type rabbit_classic_queue`},
		"in memory, classic":      {T{"x-max-in-memory-length": int32(1)}, `x-max-in-memory-length of queue type rabbit_classic_queue`},
		"max age, classic":        {T{"x-max-age": "1D"}, `x-max-age of queue type rabbit_classic_queue`},
		"segments, classic":       {T{"x-stream-max-segment-size-bytes": int32(1)}, `x-stream-max-segment-size-bytes of queue type rabbit_classic_queue`},
		"cluster size, classic":   {T{"x-initial-cluster-size": int32(1)}, `x-initial-cluster-size of queue type rabbit_classic_queue`},

		"priority, quorum":        {T{"x-queue-type": "quorum", "x-max-priority": int32(1)}, `x-max-priority of queue type rabbit_quorum_queue`},
		"mode, quorum":            {T{"x-queue-type": "quorum", "x-queue-mode": "lazy"}, `x-queue-mode of queue type rabbit_quorum_queue`},
		"version, quorum":         {T{"x-queue-type": "quorum", "x-queue-version": int32(2)}, `x-queue-version of queue type rabbit_quorum_queue`},
		"max age, quorum":         {T{"x-queue-type": "quorum", "x-max-age": "1D"}, `x-max-age of queue type rabbit_quorum_queue`},
		"strategy unknown":        {T{"x-queue-type": "quorum", "x-dead-letter-strategy": "sometimes"}, `x-dead-letter-strategy: invalid_dlx_strategy`},
		"group size zero":         {T{"x-queue-type": "quorum", "x-quorum-initial-group-size": int32(0)}, `x-quorum-initial-group-size: {value_zero,0}`},
		"in memory negative":      {T{"x-queue-type": "quorum", "x-max-in-memory-bytes": int32(-1)}, `x-max-in-memory-bytes: {value_negative,-1}`},
		"delivery limit as text":  {T{"x-queue-type": "quorum", "x-delivery-limit": "5"}, `x-delivery-limit: "expected integer, got longstr"`},
		"ttl, stream":             {T{"x-queue-type": "stream", "x-message-ttl": int32(1)}, `x-message-ttl of queue type rabbit_stream_queue`},
		"expires, stream":         {T{"x-queue-type": "stream", "x-expires": int32(1)}, `x-expires of queue type rabbit_stream_queue`},
		"length, stream":          {T{"x-queue-type": "stream", "x-max-length": int32(1)}, `x-max-length of queue type rabbit_stream_queue`},
		"overflow, stream":        {T{"x-queue-type": "stream", "x-overflow": "drop-head"}, `x-overflow of queue type rabbit_stream_queue`},
		"dead letters, stream":    {T{"x-queue-type": "stream", "x-dead-letter-exchange": "x"}, `x-dead-letter-exchange of queue type rabbit_stream_queue`},
		"single active, stream":   {T{"x-queue-type": "stream", "x-single-active-consumer": true}, `x-single-active-consumer of queue type rabbit_stream_queue`},
		"delivery limit, stream":  {T{"x-queue-type": "stream", "x-delivery-limit": int32(1)}, `x-delivery-limit of queue type rabbit_stream_queue`},
		"max age without unit":    {T{"x-queue-type": "stream", "x-max-age": "7"}, `x-max-age: invalid_max_age`},
		"max age of unknown unit": {T{"x-queue-type": "stream", "x-max-age": "7w"}, `x-max-age: invalid_max_age`},
		"max age zero":            {T{"x-queue-type": "stream", "x-max-age": "0D"}, `x-max-age: invalid_max_age`},
		"max age a number":        {T{"x-queue-type": "stream", "x-max-age": int32(7)}, `x-max-age: {unacceptable_type,signedint}`},
		"cluster size zero":       {T{"x-queue-type": "stream", "x-initial-cluster-size": int32(0)}, `x-initial-cluster-size: {value_zero,0}`},
		"segments negative":       {T{"x-queue-type": "stream", "x-stream-max-segment-size-bytes": int32(-1)}, `x-stream-max-segment-size-bytes: {value_negative,-1}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			i := strings.IndexAny(c.text, ": ")
			got, err := parse(c.args)
			expectError(t, err, 406, fmt.Sprintf("invalid arg '%s' for queue 'q' in vhost '/v'%s", c.text[:i], c.text[i:]))
			if !reflect.DeepEqual(got, broker.QueueArguments{}) {
				t.Fatalf("and yet %+v", got)
			}
		})
	}
}

func TestQueueArgumentsRefusedInOtherWords(t *testing.T) {
	type T = wire.Table
	cases := map[string]struct {
		args                           T
		durable, exclusive, autoDelete bool
		text                           string
	}{
		"dead letter exchange a number": {T{"x-dead-letter-exchange": int32(1), "x-queue-type": "none"}, true, false, false,
			"invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/v'"},
		"quorum, transient":            {T{"x-queue-type": "quorum"}, false, false, false, "invalid property 'non-durable' for queue 'q' in vhost '/v'"},
		"quorum, exclusive":            {T{"x-queue-type": "quorum"}, false, true, false, "invalid property 'exclusive-owner' for queue 'q' in vhost '/v'"},
		"quorum, auto-delete":          {T{"x-queue-type": "quorum"}, false, true, true, "invalid property 'auto-delete' for queue 'q' in vhost '/v'"},
		"stream, transient":            {T{"x-queue-type": "stream"}, false, false, false, "invalid property 'non-durable' for queue 'q' in vhost '/v'"},
		"stream, durable, auto-delete": {T{"x-queue-type": "stream"}, true, false, true, "invalid property 'auto-delete' for queue 'q' in vhost '/v'"},
		"arguments before flags":       {T{"x-queue-type": "stream", "x-expires": int32(1)}, false, true, true, "invalid arg 'x-expires' for queue 'q' in vhost '/v' of queue type rabbit_stream_queue"},
		"segments too large":           {T{"x-queue-type": "stream", "x-stream-max-segment-size-bytes": int64(3_000_000_001)}, true, false, false, "Exceeded max value for x-stream-max-segment-size-bytes"},
		"filter too small":             {T{"x-queue-type": "stream", "x-stream-filter-size-bytes": int32(15)}, true, false, false, "Invalid value for  x-stream-filter-size-bytes"},
		"filter too large":             {T{"x-queue-type": "stream", "x-stream-filter-size-bytes": int32(256)}, true, false, false, "Invalid value for  x-stream-filter-size-bytes"},
		"filter as text":               {T{"x-queue-type": "stream", "x-stream-filter-size-bytes": "32"}, true, false, false, "Invalid value for  x-stream-filter-size-bytes"},
		"what nobody encodes":          {T{"x-what": complex(1, 1)}, true, false, false, "invalid arguments: encode table: value of type complex128"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := broker.ParseQueueArguments("q", "/v", c.args, c.durable, c.exclusive, c.autoDelete)
			expectError(t, err, 406, c.text)
		})
	}
	if _, err := broker.ParseQueueArguments("q", "/v", nil, false, true, true); err != nil {
		t.Errorf("a classic queue may be all of it: %v", err)
	}
}

func TestMaxAges(t *testing.T) {
	const day = 24 * time.Hour
	for age, want := range map[string]time.Duration{
		"1Y": 365 * day, "2M": 60 * day, "7D": 7 * day, "12h": 12 * time.Hour, "90m": 90 * time.Minute, "005s": 5 * time.Second,
		"1000Y": math.MaxInt64, "99999999999999999999999s": math.MaxInt64,
	} {
		got, err := parse(wire.Table{"x-queue-type": "stream", "x-max-age": age})
		if err != nil || *got.MaxAge != want {
			t.Errorf("%s: %v, %v", age, got.MaxAge, err)
		}
	}
	for _, age := range []string{"", "D", "-1D", "1d", "1 D", "1DD", "1.5h", "1D\n"} {
		if _, err := parse(wire.Table{"x-queue-type": "stream", "x-max-age": age}); err == nil {
			t.Errorf("%q is taken", age)
		}
	}
}

func TestServerNamedQueuesAreClassic(t *testing.T) {
	for _, args := range []wire.Table{nil, {"x-queue-type": "classic"}, {"x-queue-type": ""}, {"x-queue-type": int32(1)}, {"x-queue-type": "other"}} {
		if err := broker.CheckServerNamed(args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	expectError(t, broker.CheckServerNamed(wire.Table{"x-queue-type": "quorum"}), 406, "Cannot declare a server-named queue for type rabbit_quorum_queue")
	expectError(t, broker.CheckServerNamed(wire.Table{"x-queue-type": "stream"}), 406, "Cannot declare a server-named queue for type rabbit_stream_queue")
}

// Every argument that a type compares is one that it takes, and the type itself is among them.
func TestComparedArguments(t *testing.T) {
	values := []any{int32(1), "balanced", "drop-head", "at-most-once", "lazy", "1D", true, "dlx"}
	for _, kind := range []broker.QueueType{broker.Classic, broker.Quorum, broker.Stream} {
		compared := broker.ComparedArguments(kind)
		if !slices.Contains(compared, "x-queue-type") || len(compared) != len(slices.Compact(slices.Sorted(slices.Values(compared)))) {
			t.Errorf("%s: %v", kind, compared)
		}
		for _, arg := range compared {
			taken := arg == "x-queue-type" || slices.ContainsFunc(values, func(v any) bool {
				args := wire.Table{"x-queue-type": string(kind), arg: v}
				if arg == "x-dead-letter-routing-key" {
					args["x-dead-letter-exchange"] = ""
				}
				_, err := parse(args)
				return err == nil
			})
			if !taken {
				t.Errorf("%s queues do not take %s", kind, arg)
			}
		}
		compared[0] = "written"
		if broker.ComparedArguments(kind)[0] == "written" {
			t.Error("the list is shared")
		}
	}
	current := wire.Table{"x-expires": int32(5), "x-what": "a"}
	same := wire.Table{"x-expires": int64(5), "x-what": "b", "x-queue-type": "classic"}
	if err := broker.CheckArgs("queue", "q", "/", same, current, broker.ComparedArguments(broker.Classic)...); err != nil {
		t.Error(err)
	}
}
