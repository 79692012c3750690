package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// check says all that is wrong with p as a policy of that kind, nil for nothing, and
// compiles its pattern.
func (p Policy) check(kind PolicyKind) (namePattern, *PolicyError) {
	var wrong []string
	pattern, err := compilePattern(p.Pattern)
	if err != nil {
		wrong = append(wrong, "pattern should be regular expression but is invalid: "+err.Error())
	}
	switch p.ApplyTo {
	case ApplyToAll, ApplyToQueues, ApplyToClassicQueues, ApplyToQuorumQueues, ApplyToStreams, ApplyToExchanges:
	default:
		wrong = append(wrong, fmt.Sprintf("apply-to '%s' unrecognised; should be one of: 'queues', 'classic_queues', "+
			"'quorum_queues', 'streams', 'exchanges', or 'all'", p.ApplyTo))
	}
	if reason := checkDefinition(p.Definition, kind); reason != "" {
		wrong = append(wrong, reason)
	}
	if len(wrong) > 0 {
		return namePattern{}, &PolicyError{Reason: strings.Join(wrong, "\n")}
	}
	return pattern, nil
}

// checkDefinition is the first thing wrong with d, "" for nothing: values before keys
// that there are not.
func checkDefinition(d map[string]any, kind PolicyKind) string {
	if len(d) == 0 {
		return "no policy provided"
	}
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(d)) {
		v := d[key]
		if check, known := checkOf(key, kind); !known {
			unknown = append(unknown, fmt.Sprintf("{%s,%s}", term(key), jsonTerm(v)))
		} else if reason := check(v); reason != "" {
			return fmt.Sprintf(reason, jsonTerm(v))
		}
	}
	if len(unknown) > 0 {
		return "[" + strings.Join(unknown, ",") + "] are not recognised policy settings"
	}
	return ""
}

// valueCheck returns what is wrong with a value, as a format for it, or "".
type valueCheck func(v any) string

// checkOf is the check of a key, if policies of that kind may have it. Keys that only
// say how RabbitMQ replicates, places or stores are taken and have no effect.
func checkOf(key string, kind PolicyKind) (valueCheck, bool) {
	if strings.HasPrefix(key, "ha-") {
		return anything, kind == UserPolicy || key == "ha-mode" || key == "ha-params" || key == "ha-sync-mode"
	}
	if check, ok := limitCheck(key); ok {
		return check, true
	}
	if kind == OperatorPolicy {
		return nil, false
	}
	if strings.HasPrefix(key, "federation-") {
		return anything, true
	}
	return userCheck(key)
}

func anything(any) string { return "" }

// limitCheck is for the keys of both kinds.
func limitCheck(key string) (valueCheck, bool) {
	switch key {
	case "message-ttl":
		return atLeast(0, "%s is not a valid message TTL"), true
	case "expires":
		return atLeast(1, "%s is not a valid queue expiry"), true
	case "max-length":
		return atLeast(0, "%s is not a valid maximum length"), true
	case "max-length-bytes":
		return atLeast(0, "%s is not a valid maximum length in bytes"), true
	case "max-in-memory-length", "max-in-memory-bytes":
		return atLeast(0, "%s is not a valid maximum memory in bytes"), true
	case "delivery-limit":
		return atLeast(0, "%s is not a valid delivery limit"), true
	case "target-group-size":
		return atLeast(1, "%s is not a valid qq target count value"), true
	case "overflow":
		return amongst("%s is not a valid overflow value", string(DropHead), string(RejectPublish), string(RejectPublishDLX)), true
	case "queue-version":
		return between(1, 2, "%s is not a valid queue-version value"), true
	}
	return nil, false
}

// userCheck is for the keys that only users' policies have.
func userCheck(key string) (valueCheck, bool) {
	switch key {
	case "alternate-exchange":
		return isText("%s is not a valid alternate exchange name"), true
	case "dead-letter-exchange":
		return isText("%s is not a valid dead letter exchange name"), true
	case "dead-letter-routing-key":
		return isText("%s is not a valid dead letter routing key"), true
	case "dead-letter-strategy":
		return amongst("%s is not a valid dead letter strategy", "at-most-once", AtLeastOnce), true
	case "consumer-timeout":
		return atLeast(0, "%s is not a valid consumer timeout"), true
	case "max-age":
		return isMaxAge, true
	case "queue-mode":
		return amongst("%s is not a valid queue-mode value", "default", "lazy"), true
	case "queue-master-locator":
		return amongst("%s invalid queue-master-locator value", "min-masters", "client-local", "random"), true
	case "queue-leader-locator":
		return amongst("%s is not a valid queue leader locator value", leaderLocators()...), true
	case "initial-cluster-size":
		return atLeast(0, "%s is not a valid cluster size"), true
	case "stream-max-segment-size-bytes":
		return between(0, maxSegmentBytes, "%s is not a valid segment size"), true
	case "stream-filter-size-bytes":
		return between(minFilter, maxFilter, "%s is not a valid filter size. Valid range is 16-255"), true
	}
	return nil, false
}

func atLeast(least int64, reason string) valueCheck {
	return func(v any) string {
		if n, ok := v.(int64); ok && n >= least {
			return ""
		}
		return reason
	}
}

func between(least, most int64, reason string) valueCheck {
	return func(v any) string {
		if n, ok := v.(int64); ok && n >= least && n <= most {
			return ""
		}
		return reason
	}
}

func amongst(reason string, allowed ...string) valueCheck {
	return func(v any) string {
		if s, ok := v.(string); ok && slices.Contains(allowed, s) {
			return ""
		}
		return reason
	}
}

func isText(reason string) valueCheck {
	return func(v any) string {
		if isString(v) {
			return ""
		}
		return reason
	}
}

func isMaxAge(v any) string {
	s, _ := v.(string)
	if _, ok := parseMaxAge(s); ok {
		return ""
	}
	return "%s is not a valid max age"
}

// jsonTerm prints a JSON value as an Erlang term.
func jsonTerm(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case map[string]any:
		var items []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			items = append(items, term(key)+" => "+jsonTerm(v[key]))
		}
		return "#{" + strings.Join(items, ",") + "}"
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, jsonTerm(item))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	return term(v)
}
