package differential

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/adapters/amqp/wire"
)

// serverNames are what the server made up: everybody's are different.
var serverNames = regexp.MustCompile(`\b(amq\.(?:gen|ctag)-|amq\.rabbitmq\.reply-to\.)[A-Za-z0-9_.+/=-]+`)

// normal is the text without what differs from run to run.
func normal(text string) string { return serverNames.ReplaceAllString(text, "${1}*") }

// value writes a table value so that its type shows: 5 as an int32 is I5.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "void"
	case string:
		return strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case []byte:
		return fmt.Sprintf("x%q", v)
	case time.Time:
		return "T" + moment(v)
	case wire.Table:
		return table(v)
	case []any:
		return array(v)
	}
	return number(v)
}

func number(v any) string {
	tag := "?"
	switch v.(type) {
	case int8:
		tag = "b"
	case uint8:
		tag = "B"
	case int16:
		tag = "s"
	case uint16:
		tag = "u"
	case int32:
		tag = "I"
	case uint32:
		tag = "i"
	case int64:
		tag = "l"
	case float32:
		tag = "f"
	case float64:
		tag = "d"
	case wire.Decimal:
		tag = "D"
	}
	return fmt.Sprintf("%s%v", tag, v)
}

// moment is "now" for what the server stamped during the run.
func moment(t time.Time) string {
	if d := time.Since(t); d.Abs() < 10*time.Minute {
		return "now"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

func table(t wire.Table) string {
	var b strings.Builder
	for i, key := range slices.Sorted(maps.Keys(t)) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s: %s", key, value(t[key]))
	}
	return "{" + b.String() + "}"
}

func array(vs []any) string {
	texts := make([]string, len(vs))
	for i, v := range vs {
		texts[i] = value(v)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// properties are those that were present, absent and empty told apart.
func properties(p wire.Properties) string {
	var all []string
	add := func(flag uint16, name, text string) {
		if p.Has(flag) {
			all = append(all, name+"="+text)
		}
	}
	add(wire.FlagContentType, "content-type", strconv.Quote(p.ContentType))
	add(wire.FlagContentEncoding, "content-encoding", strconv.Quote(p.ContentEncoding))
	add(wire.FlagHeaders, "headers", table(p.Headers))
	add(wire.FlagDeliveryMode, "delivery-mode", strconv.Itoa(int(p.DeliveryMode)))
	add(wire.FlagPriority, "priority", strconv.Itoa(int(p.Priority)))
	add(wire.FlagCorrelationID, "correlation-id", strconv.Quote(p.CorrelationID))
	add(wire.FlagReplyTo, "reply-to", strconv.Quote(p.ReplyTo))
	add(wire.FlagExpiration, "expiration", strconv.Quote(p.Expiration))
	add(wire.FlagMessageID, "message-id", strconv.Quote(p.MessageID))
	add(wire.FlagTimestamp, "timestamp", moment(p.Timestamp))
	add(wire.FlagType, "type", strconv.Quote(p.Type))
	add(wire.FlagUserID, "user-id", strconv.Quote(p.UserID))
	add(wire.FlagAppID, "app-id", strconv.Quote(p.AppID))
	add(wire.FlagClusterID, "cluster-id", strconv.Quote(p.ClusterID))
	return strings.Join(all, " ")
}

// body is quoted when it is short, and else its size and first octets.
func body(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%q... of %d", b[:16], len(b))
	}
	return strconv.Quote(string(b))
}

// message is a content as it arrived: what it says, the way it took, its properties.
func message(e event, exchange, key string, redelivered bool) string {
	text := fmt.Sprintf("%s via %s/%s", body(e.body), exchange, key)
	if redelivered {
		text += " redelivered"
	}
	if p := properties(e.props); p != "" {
		text += " " + p
	}
	return text
}

func delivered(e event) string {
	switch m := e.method.(type) {
	case *wire.BasicDeliver:
		return fmt.Sprintf("#%d to %s %s", m.DeliveryTag, m.ConsumerTag, message(e, m.Exchange, m.RoutingKey, m.Redelivered))
	case *wire.BasicCancel:
		return fmt.Sprintf("cancelled %s nowait=%t", m.ConsumerTag, m.NoWait)
	}
	return e.method.Name()
}

func returned(e event) string {
	m := e.method.(*wire.BasicReturn)
	return fmt.Sprintf("return %d %s %s", m.ReplyCode, m.ReplyText, message(e, m.Exchange, m.RoutingKey, false))
}

// answer is the reply to a request.
func answer(e event) string {
	switch m := e.method.(type) {
	case *wire.QueueDeclareOk:
		return fmt.Sprintf("ok %s ready=%d consumers=%d", m.Queue, m.MessageCount, m.ConsumerCount)
	case *wire.QueueDeleteOk:
		return fmt.Sprintf("ok messages=%d", m.MessageCount)
	case *wire.QueuePurgeOk:
		return fmt.Sprintf("ok messages=%d", m.MessageCount)
	case *wire.BasicConsumeOk:
		return "ok " + m.ConsumerTag
	case *wire.BasicCancelOk:
		return "ok " + m.ConsumerTag
	case *wire.BasicGetOk:
		return fmt.Sprintf("#%d %s left=%d", m.DeliveryTag, message(e, m.Exchange, m.RoutingKey, m.Redelivered), m.MessageCount)
	case *wire.BasicGetEmpty:
		return "empty"
	case *wire.ChannelFlowOk:
		return fmt.Sprintf("ok active=%t", m.Active)
	}
	return "ok"
}
