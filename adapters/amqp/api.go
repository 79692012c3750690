package amqp

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/policy"
)

// API is the door's topology, connections and policies as resources, under the names and with the fields of RabbitMQ's management API. The HTTP door serves it below
// /v1/amqp; docs/http.md lists the resources. All methods may be called by any number of goroutines, also before Serve and after it: then changes are refused.
type API struct {
	// immutable
	adapter *Adapter
	places  []place
}

// place is one path with what may be done there.
type place struct {
	path    []string // ":" stands for a name
	methods map[string]func(*call) (status int, answer any, err error)
}

// call is one request.
type call struct {
	door  *Adapter
	vhost *vhost // the one of whoever asks
	bus   *core.Bus
	http  *http.Request
	body  []byte
	names []string // what stands for ":"
}

// API returns the resources of this door.
func (a *Adapter) API() *API {
	return &API{adapter: a, places: places()}
}

// places is the one list of resources.
func places() (all []place) {
	type methods = map[string]func(*call) (int, any, error)
	for _, p := range []struct {
		path string
		methods
	}{
		{"overview", methods{http.MethodGet: (*call).overview}},
		{"exchanges", methods{http.MethodGet: (*call).exchanges}},
		{"exchanges/:", methods{http.MethodGet: (*call).exchange, http.MethodPut: (*call).putExchange, http.MethodDelete: (*call).deleteExchange}},
		{"exchanges/:/bindings/source", methods{http.MethodGet: (*call).bindingsFrom}},
		{"exchanges/:/bindings/destination", methods{http.MethodGet: (*call).bindingsTo}},
		{"exchanges/:/publish", methods{http.MethodPost: (*call).publish}},
		{"queues", methods{http.MethodGet: (*call).queues}},
		{"queues/:", methods{http.MethodGet: (*call).queue, http.MethodPut: (*call).putQueue, http.MethodDelete: (*call).deleteQueue}},
		{"queues/:/contents", methods{http.MethodDelete: (*call).purge}},
		{"queues/:/bindings", methods{http.MethodGet: (*call).queueBindings}},
		{"bindings", methods{http.MethodGet: (*call).bindings}},
		{"bindings/e/:/q/:", methods{http.MethodGet: (*call).bindingsToQueue, http.MethodPost: (*call).bindQueue}},
		{"bindings/e/:/q/:/:", methods{http.MethodGet: (*call).bindingToQueue, http.MethodDelete: (*call).unbindQueue}},
		{"bindings/e/:/e/:", methods{http.MethodGet: (*call).bindingsToExchange, http.MethodPost: (*call).bindExchange}},
		{"bindings/e/:/e/:/:", methods{http.MethodGet: (*call).bindingToExchange, http.MethodDelete: (*call).unbindExchange}},
		{"connections", methods{http.MethodGet: (*call).connections}},
		{"connections/:", methods{http.MethodGet: (*call).connection, http.MethodDelete: (*call).closeConnection}},
		{"connections/:/channels", methods{http.MethodGet: (*call).connectionChannels}},
		{"channels", methods{http.MethodGet: (*call).channels}},
		{"channels/:", methods{http.MethodGet: (*call).channel}},
		{"consumers", methods{http.MethodGet: (*call).consumers}},
		{"policies", methods{http.MethodGet: (*call).policies}},
		{"policies/:", methods{http.MethodGet: (*call).policy, http.MethodPut: (*call).putPolicy, http.MethodDelete: (*call).deletePolicy}},
		{"operator-policies", methods{http.MethodGet: (*call).operatorPolicies}},
		{"operator-policies/:", methods{http.MethodGet: (*call).operatorPolicy, http.MethodPut: (*call).putOperatorPolicy, http.MethodDelete: (*call).deleteOperatorPolicy}},
	} {
		all = append(all, place{strings.Split(p.path, "/"), p.methods})
	}
	return all
}

// find returns the place at path, with the names in it; nil if there is none.
func (x *API) find(path []string) (*place, []string) {
	for i := range x.places {
		if names, ok := x.places[i].matches(path); ok {
			return &x.places[i], names
		}
	}
	return nil, nil
}

func (p *place) matches(path []string) (names []string, ok bool) {
	if len(path) != len(p.path) {
		return nil, false
	}
	for i, word := range p.path {
		switch {
		case word == ":" && path[i] != "":
			names = append(names, path[i])
		case word != path[i]:
			return nil, false
		}
	}
	return names, true
}

// Methods are the HTTP methods that are understood at path, nil if nothing is there. path is split at slashes, its parts unescaped.
func (x *API) Methods(path []string) []string {
	p, _ := x.find(path)
	if p == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(p.methods))
}

// Serve does what r asks for at path, as whoever bus belongs to: who may not publish and subscribe everywhere may not do anything here. body is r's body, and not kept.
// answer is what to tell as JSON, nil for nothing. The error is a *core.Error.
func (x *API) Serve(bus *core.Bus, path []string, r *http.Request, body []byte) (status int, answer any, err error) {
	p, names := x.find(path)
	if p == nil || p.methods[r.Method] == nil {
		return 0, nil, core.Errorf(core.CodeNotFound, "there is nothing at this path")
	}
	if err := mayUse(bus, r.Method); err != nil {
		return 0, nil, err
	}
	if err := checkNames(names); err != nil {
		return 0, nil, err
	}
	vhost := x.adapter.vhosts.get(bus.Tenant())
	if vhost == nil || r.Method != http.MethodGet && vhost.isClosed() {
		return 0, nil, core.Errorf(core.CodeUnavailable, "the gateway is stopping")
	}
	status, answer, err = p.methods[r.Method](&call{door: x.adapter, vhost: vhost, bus: bus, http: r, body: body, names: names})
	if err != nil {
		return 0, nil, apiError(err)
	}
	return status, answer, nil
}

// maxName is the longest name or routing key, in bytes: on the wire it is a short string.
const maxName = 255

// checkNames checks the names of a path. What follows two of them is the properties key of a binding, and longer.
func checkNames(names []string) error {
	for _, name := range names[:min(len(names), 2)] {
		if len(name) > maxName || broker.CleanName(name) == "" {
			return core.Errorf(core.CodeInvalid, "a name has 1 to %d bytes other than line ends", maxName)
		}
	}
	return nil
}

// mayUse lets those pass who may look at everything, or for changes who may administer the gateway: by their role, or because nothing is refused to them.
func mayUse(bus *core.Bus, method string) error {
	a := policy.Administer
	if method == http.MethodGet {
		a = policy.Monitor
	}
	if !bus.Decide(a, policy.Resource{}).Allowed {
		return core.Errorf(core.CodePermissionDenied, "whoever uses this has to be allowed to publish and subscribe to everything, queues included, or to have the role administrator (monitoring to look)")
	}
	return nil
}

// isClosed tells whether the topology may no longer be changed.
func (v *vhost) isClosed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
}

// apiCodes is the one table from AMQP's reply codes to the gateway's codes.
func apiCodes(code uint16) core.Code {
	switch code {
	case wire.NotFound:
		return core.CodeNotFound
	case wire.AccessRefused:
		return core.CodePermissionDenied
	case wire.ResourceLocked:
		return core.CodeLocked
	case wire.PreconditionFailed, wire.NotAllowed:
		return core.CodePreconditionFailed
	case wire.ContentTooLarge:
		return core.CodeTooLarge
	case wire.FrameError, wire.SyntaxError, wire.CommandInvalid:
		return core.CodeInvalid
	case wire.ResourceError:
		return core.CodeResourceExhausted
	case wire.NotImplemented:
		return core.CodeUnimplemented
	case wire.InternalError:
		return core.CodeUnavailable
	}
	return core.CodeInternal
}

// apiError is err as other doors know errors.
func apiError(err error) error {
	if e, ok := errors.AsType[*wire.ChanError](err); ok {
		return core.Errorf(apiCodes(e.Code), "%s", e.Text)
	}
	if e, ok := errors.AsType[*wire.ConnError](err); ok {
		return core.Errorf(apiCodes(e.Code), "%s", e.Text)
	}
	if e, ok := errors.AsType[*broker.PolicyError](err); ok {
		return core.Errorf(core.CodeInvalid, "%s", e.Reason)
	}
	return core.AsError(err)
}

// invalid is err as the request's own fault: what AMQP calls a failed precondition is a conflict only with something that is there.
func invalid(err error) error {
	if e, ok := errors.AsType[*wire.ChanError](err); ok && e.Code == wire.PreconditionFailed {
		return core.Errorf(core.CodeInvalid, "%s", e.Text)
	}
	return err
}

// flag is a parameter of the query that is "true" or not.
func (c *call) flag(name string) bool { return c.http.URL.Query().Get(name) == "true" }

// createdOr is the status of a PUT.
func createdOr(there bool) int {
	if there {
		return http.StatusNoContent
	}
	return http.StatusCreated
}
