package broker

import (
	"strings"

	"portico/adapters/amqp/wire"
)

const (
	hashHeaderArg   = "hash-header"
	hashPropertyArg = "hash-property"
)

// checkKnown is the 406 for an exchange type that is none.
func checkKnown(exchangeType string) error {
	switch exchangeType {
	case Direct, Fanout, Topic, Headers, ConsistentHash, ModulusHash, Random, DelayedMessage:
		return nil
	case "":
		return wire.ChanErrorf(wire.PreconditionFailed, "invalid exchange type ''")
	}
	return wire.ChanErrorf(wire.PreconditionFailed, "unknown exchange type '%s'", exchangeType)
}

// checkTypeArguments is the 406 for arguments that the type of x refuses [RMQ].
func (v *VHost) checkTypeArguments(x Exchange) error {
	if x.Type == DelayedMessage {
		if err := checkDelayedType(x); err != nil {
			return err
		}
	}
	if x.RoutesAs() == ConsistentHash {
		return v.checkHashArguments(x)
	}
	return nil
}

func checkDelayedType(x Exchange) error {
	switch name := x.RoutesAs(); {
	case !isBytesOrString(x.Arguments[delayedTypeArg]):
		return wire.ChanErrorf(wire.PreconditionFailed,
			"Invalid argument, '%s' must be an existing exchange type", delayedTypeArg)
	case name == DelayedMessage:
		return wire.ChanErrorf(wire.PreconditionFailed,
			"Invalid argument, '%s' can't be used for '%s'", DelayedMessage, delayedTypeArg)
	default:
		return checkKnown(name)
	}
}

func (v *VHost) checkHashArguments(x Exchange) error {
	_, byHeader := x.Arguments[hashHeaderArg]
	_, byProperty := x.Arguments[hashPropertyArg]
	for _, arg := range []string{hashHeaderArg, hashPropertyArg} {
		// RabbitMQ crashes on these; it is the same mistake as with an alternate exchange.
		if value, given := x.Arguments[arg]; given && !isString(value) {
			return v.invalidType(x.Name, arg, value)
		}
	}
	if byHeader && byProperty {
		return wire.ChanErrorf(wire.PreconditionFailed, "%s and %s are mutually exclusive", hashHeaderArg, hashPropertyArg)
	}
	if property, _ := x.Arguments[hashPropertyArg].(string); byProperty && propertyHash(property) == nil {
		return wire.ChanErrorf(wire.PreconditionFailed, "Unsupported property: %s", property)
	}
	return nil
}

// invalidType is the 406 for an exchange's argument that is no string.
func (v *VHost) invalidType(exchange, arg string, value any) error {
	return wire.ChanErrorf(wire.PreconditionFailed, "invalid type '%s' for arg '%s' in exchange '%s' in vhost '%s'",
		TypeName(value), arg, exchange, v.name)
}

// checkBinding is the 406 for a binding that the type of its source refuses.
func checkBinding(x Exchange, b Binding) error {
	switch x.RoutesAs() {
	case Headers:
		return checkMatchArg(b.Arguments)
	case ConsistentHash:
		return checkWeight(b.Key)
	}
	return nil
}

func checkWeight(key string) error {
	sign := strings.HasPrefix(key, "-")
	digits := strings.TrimLeft(key, "+-")
	if digits == "" || len(key)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return wire.ChanErrorf(wire.PreconditionFailed, "The binding key must be an integer: %s", term(key))
	}
	if sign || strings.Trim(digits, "0") == "" {
		return wire.ChanErrorf(wire.PreconditionFailed, "The binding key must be greater than 0")
	}
	return nil
}

func isString(v any) bool {
	_, ok := v.(string)
	return ok
}

func isBytesOrString(v any) bool {
	_, octets := v.([]byte)
	return octets || isString(v)
}

// bytesOrString is a string of either encoding, empty for anything else.
func bytesOrString(v any) string {
	if octets, ok := v.([]byte); ok {
		return string(octets)
	}
	s, _ := v.(string)
	return s
}
