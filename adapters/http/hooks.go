package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"portico/adapters/http/inbound"
	"portico/core"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"
)

// Hook is a source of webhooks, for Config.Hooks.
type Hook = inbound.Source

// HookHMAC is how a Hook of kind hmac signs.
type HookHMAC = inbound.HMAC

const (
	headerHook   = "hook-source" // of a message: the name of the source it came from
	hookTable    = "hooks"       // sources made by REST, by name
	maxHooks     = 1000          // of those made by REST
	maxHookField = 256           // bytes of one value in a subject
	hookIDPrefix = "hook:"       // of the ids under which webhooks are kept once
	hookPatience = 20 * time.Second
	hookFields   = "fields that are {name}, {type}, {header.NAME} or {body.path}"
	hookBodies   = bodyMemory / 4 // bytes of webhooks that are read or handled at once: strangers leave room for those who are logged in. When full, 507
)

// hook is a source that is ready for use. Immutable.
type hook struct {
	source   inbound.Source
	template inbound.Template
	file     bool   // from the configuration: it cannot be changed here
	revision uint64 // in the table
}

// hookState is what inbound webhooks keep.
type hookState struct {
	// immutable
	fixed    map[string]*hook // from the configuration
	gateway  *core.Gateway
	seen     *seenIDs
	bodies   *semaphore.Weighted // bytes of webhooks at once
	changing chan struct{}       // capacity 1: held from counting the sources to adding one
}

// newHookState checks the sources of the configuration.
func newHookState(fixed []Hook, g *core.Gateway) (*hookState, error) {
	s := &hookState{fixed: make(map[string]*hook, len(fixed)), gateway: g, seen: newSeenIDs(g), bodies: semaphore.NewWeighted(hookBodies), changing: make(chan struct{}, 1)}
	for _, source := range fixed {
		h, err := newHook(source)
		if err != nil {
			return nil, errors.Join(errors.New("http: hook "+source.Name), err)
		}
		if s.fixed[source.Name] != nil {
			return nil, errors.New("http: hook " + source.Name + ": named twice")
		}
		h.file = true
		s.fixed[source.Name] = h
	}
	return s, nil
}

// newHook checks a source. The errors are *inbound.FieldError, joined.
func newHook(source inbound.Source) (*hook, error) {
	source, err := source.Checked()
	if err != nil {
		return nil, err
	}
	t, err := inbound.ParseTemplate(source.Subject)
	if err != nil {
		return nil, err
	}
	for _, field := range t.Fields() {
		if !hookField(field) {
			return nil, &inbound.FieldError{Field: "subject", Found: source.Subject, Expected: hookFields}
		}
	}
	for i, name := range source.Headers {
		if !keepable(name) {
			return nil, &inbound.FieldError{Field: fmt.Sprintf("headers[%d]", i), Found: name, Expected: "headers that a message may keep: no credentials, none of the gateway's own"}
		}
	}
	return &hook{source: source, template: t}, nil
}

// CheckHook says what is wrong with a hook of the configuration; nil: nothing. Secrets are no part of the error.
func CheckHook(source Hook) error {
	_, err := newHook(source)
	return err
}

func hookField(name string) bool {
	prefix, rest, dotted := strings.Cut(name, ".")
	return name == "name" || name == "type" || dotted && rest != "" && (prefix == "header" || prefix == "body")
}

// keepable tells whether a message may keep a request's header: not what is secret, not what means something to the gateway.
func keepable(name string) bool {
	lower := strings.ToLower(name)
	_, own := properties[lower]
	return !own && !reserved(lower) && !strings.HasPrefix(lower, "nmqtt-") && lower != headerHook && lower != "authorization" && lower != "cookie" && lower != "proxy-authorization"
}

// find returns the source of a name. CodeNotFound.
func (s *hookState) find(ctx context.Context, name string) (*hook, error) {
	if h := s.fixed[name]; h != nil {
		return h, nil
	}
	t, err := s.table(ctx)
	if err != nil {
		return nil, err
	}
	e, err := t.Get(ctx, name)
	if err == nil && e.Value == nil || err != nil && core.AsError(err).Code == core.CodeNotFound {
		return nil, core.Errorf(core.CodeNotFound, "there is no hook %q", name)
	}
	if err != nil {
		return nil, err
	}
	return openHook(e)
}

func (s *hookState) table(ctx context.Context) (*core.Table, error) {
	return s.gateway.System().Table(ctx, hookTable)
}

// openHook reads a source as it was put into the table.
func openHook(e core.TableEntry) (*hook, error) {
	var source inbound.Source
	err := json.Unmarshal(e.Value, &source)
	if err != nil {
		return nil, &core.Error{Code: core.CodeInternal, Detail: "hook record", Err: err}
	}
	h, err := newHook(source)
	if err != nil {
		return nil, &core.Error{Code: core.CodeInternal, Detail: "hook record", Err: err}
	}
	h.revision = e.Revision
	return h, nil
}

// subject is where a webhook goes; each value is one token of it.
func (h *hook) subject(e inbound.Event, header http.Header, body []byte) (string, error) {
	return h.template.Expand(func(field string) (string, error) {
		value := h.value(field, e, header, body)
		if len(value) > maxHookField {
			return "", core.Errorf(core.CodeInvalid, "{%s} in the subject would have %d bytes: at most %d", field, len(value), maxHookField)
		}
		return core.EncodeToken(value), nil
	})
}

func (h *hook) value(field string, e inbound.Event, header http.Header, body []byte) string {
	switch prefix, rest, _ := strings.Cut(field, "."); prefix {
	case "name":
		return h.source.Name
	case "type":
		return e.Type
	case "header":
		return header.Get(rest)
	default:
		return inbound.Field(body, rest)
	}
}

// message is a genuine webhook as it travels: its payload untouched.
func (h *hook) message(e inbound.Event, header http.Header, body []byte) (*core.Message, error) {
	subject, err := h.subject(e, header, body)
	if err != nil {
		return nil, err
	}
	out := core.Header{headerHook: {h.source.Name}}
	for name, value := range map[string]string{core.HeaderMessageID: e.ID, core.HeaderType: e.Type} {
		if value != "" {
			out[name] = []string{value}
		}
	}
	if e.ID != "" {
		out[headerMsgID] = []string{h.dedupeID(e)}
	}
	for _, name := range append([]string{core.HeaderContentType, core.HeaderContentEncoding}, h.source.Headers...) {
		target := strings.ToLower(name)
		if p, own := properties[target]; own {
			target = p.name
		}
		for _, v := range header.Values(name) {
			if carriable(v) && anyText(v) {
				out.Add(target, v)
			}
		}
	}
	return &core.Message{Subject: subject, Header: out, Data: body}, nil
}

// dedupeID is the id under which queues and streams keep this delivery once.
func (h *hook) dedupeID(e inbound.Event) string { return hookIDPrefix + h.source.Name + ":" + e.ID }

// received is the answer to a webhook. Who sends it learns nothing else: it is a stranger.
type received struct {
	Duplicate bool   `json:"duplicate,omitempty" doc:"It had been taken before"`
	Challenge string `json:"challenge,omitempty" doc:"What Slack asked for"`
}

// receiveHook: POST /hooks/{name}. 200 when the message is kept.
func (a *Adapter) receiveHook(c *gin.Context) {
	h, err := a.hooks.find(c.Request.Context(), c.Param("name"))
	if err != nil {
		a.fail(c, err)
		return
	}
	now := time.Now()
	if err := inbound.Screen(&h.source, c.Request.Header, now); err != nil {
		a.refuseHook(c, h, err)
		return
	}
	body, release, err := a.readInto(c, a.maxBody, a.hooks.bodies)
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	e, err := inbound.Verify(&h.source, c.Request.Header, body, now)
	switch {
	case err != nil:
		a.refuseHook(c, h, err)
		return
	case e.Challenge != "":
		c.JSON(http.StatusOK, received{Challenge: e.Challenge})
		return
	}
	duplicate, err := a.takeHook(c, h, e, body)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, received{Duplicate: duplicate})
}

// refuseHook answers a webhook that is not genuine, or not any more.
func (a *Adapter) refuseHook(c *gin.Context, h *hook, err error) {
	a.log.Debug("webhook refused", "door", door, "hook", h.source.Name, "remote", c.Request.RemoteAddr, "err", err)
	p := problemOf(core.Errorf(core.CodeUnauthenticated, "%s", err.Error()))
	switch {
	case errors.Is(err, inbound.ErrMalformed):
		p = problemOf(core.Errorf(core.CodeInvalid, "%s", err.Error()))
	case errors.Is(err, inbound.ErrStale):
		p.Type, p.Title = "urn:portico:problem:stale-timestamp", "Stale timestamp"
	default:
		p.Title = "Not genuine"
	}
	a.problem(c, p)
}

// takeHook publishes a genuine webhook and remembers its id. Publishing comes first: between the two a crash makes the sender try again, and what it
// sends then is told
// from a new one by the queues and streams themselves, for the two minutes that they remember ids.
func (a *Adapter) takeHook(c *gin.Context, h *hook, e inbound.Event, body []byte) (duplicate bool, err error) {
	m, err := h.message(e, c.Request.Header, body)
	if err != nil {
		return false, err
	}
	// A sender that hangs up changes nothing: what is published has to be remembered.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), hookPatience)
	defer cancel()
	if e.ID == "" {
		_, err := a.publishHook(ctx, h, m)
		return false, err
	}
	id := seenKeyOf(h.source.Name, e.ID)
	known, done, err := a.hooks.seen.claim(ctx, id)
	if err != nil || known {
		return known, err
	}
	defer done()
	if duplicate, err = a.publishHook(ctx, h, m); err != nil {
		return false, err
	}
	// Twice the tolerance of now, not of the largest there may be: maxSeen ids would then do for 28 deliveries a second, where they do for 333. So raising a tolerance
	// makes some old signatures fresh whose ids are forgotten; the document says so.
	return duplicate, a.hooks.seen.keep(ctx, id, time.Now().Add(2*h.source.Tolerance))
}

// publishHook publishes as the gateway: who sends has no identity on the bus, and where it goes was allowed when the source was made.
func (a *Adapter) publishHook(ctx context.Context, h *hook, m *core.Message) (duplicate bool, err error) {
	start := time.Now()
	told, err := a.gateway.System().Publish(ctx, m)
	if err != nil {
		return false, err
	}
	r := receiptOf(told)
	if !r.kept() && !h.source.Live {
		return false, core.Errorf(core.CodeNoResponders, "no queue and no stream keeps what this hook receives")
	}
	a.took(m, start)
	return r.Duplicate, nil
}
