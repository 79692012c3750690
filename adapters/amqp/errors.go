package amqp

import (
	"errors"

	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"
)

// protocolError is the one table from the gateway's errors to AMQP's: a *wire.ChanError, a *wire.ConnError, or what is none of
// anybody's fault (the connection's own ends) unchanged. Nothing of an internal error is told.
func protocolError(err error) error {
	if _, ok := errors.AsType[*wire.ChanError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*wire.ConnError](err); ok {
		return err
	}
	if errors.Is(err, errGone) || errors.Is(err, errDraining) || errors.Is(err, errClientClosed) {
		return err
	}
	e := core.AsError(err)
	switch e.Code {
	case core.CodeNotFound:
		return wire.ChanErrorf(wire.NotFound, "%s", e.Detail)
	case core.CodeLocked:
		return wire.ChanErrorf(wire.ResourceLocked, "%s", e.Detail)
	case core.CodePreconditionFailed, core.CodeInvalid, core.CodeTooLarge:
		return wire.ChanErrorf(wire.PreconditionFailed, "%s", e.Detail)
	case core.CodePermissionDenied, core.CodeUnauthenticated:
		return wire.ChanErrorf(wire.AccessRefused, "%s", e.Detail)
	case core.CodeNoResponders:
		return wire.ChanErrorf(wire.NoRoute, "%s", e.Detail)
	case core.CodeResourceExhausted, core.CodeSlowConsumer:
		return wire.ConnErrorf(wire.ResourceError, "%s", e.Detail)
	case core.CodeUnimplemented:
		return wire.ConnErrorf(wire.NotImplemented, "%s", e.Detail)
	case core.CodeUnavailable, core.CodeTimeout:
		return wire.ConnErrorf(wire.InternalError, "%s", e.Detail)
	}
	return wire.ConnErrorf(wire.InternalError, "internal error")
}

// queueError is protocolError for what an operation on the queue of that name returned.
func (ch *channel) queueError(name string, err error) error {
	if errors.Is(err, queue.ErrDeleted) {
		return noQueue(name, ch.vhost().name)
	}
	if errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrFenced) {
		return wire.ConnErrorf(wire.InternalError, "queue '%s' in vhost '%s' is not available", name, ch.vhost().name)
	}
	return protocolError(err)
}

func noQueue(name, vhost string) error {
	return wire.ChanErrorf(wire.NotFound, "no queue '%s' in vhost '%s'", name, vhost)
}
