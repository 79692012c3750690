package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"portico/adapters/http/inbound"
	"portico/core"

	"github.com/gin-gonic/gin"
)

// hookConfig is the body of PUT /v1/hooks/{name}; what is left out has the default.
type hookConfig struct {
	Kind      string        `json:"kind" required:"true" doc:"Who signs, and how" enum:"standard-webhooks,github,stripe,slack,hmac,basic,bearer"`
	Secrets   []string      `json:"secrets,omitempty" doc:"Any of them will do; they never come back out. Left out where the hook exists: as they are" maxItems:"8"`
	Tolerance string        `json:"tolerance,omitempty" doc:"How far a signed time may be from now; 5m by default" example:"5m"`
	Subject   string        `json:"subject,omitempty" doc:"Template of the subject: {name}, {type}, {header.NAME}, {body.path}" example:"hooks.{name}.{type}"`
	Headers   []string      `json:"headers,omitempty" doc:"Headers that the message keeps, in lower case" maxItems:"32"`
	IDHeader  string        `json:"id_header,omitempty" doc:"hmac, basic, bearer: the header with the delivery id"`
	HMAC      *inbound.HMAC `json:"hmac,omitempty" doc:"Kind hmac: how it is signed"`
	Live      bool          `json:"live,omitempty" doc:"Answer 200 also when nothing keeps the message"`
}

// hookDescription is a hook as it is shown.
type hookDescription struct {
	Name      string        `json:"name" example:"github"`
	URL       string        `json:"url" doc:"Where webhooks are sent" example:"/hooks/github"`
	Kind      string        `json:"kind" example:"github"`
	Secrets   int           `json:"secrets" doc:"How many there are"`
	Tolerance string        `json:"tolerance" example:"5m0s"`
	Subject   string        `json:"subject" example:"hooks.{name}.{type}"`
	Headers   []string      `json:"headers,omitempty"`
	IDHeader  string        `json:"id_header,omitempty"`
	HMAC      *inbound.HMAC `json:"hmac,omitempty"`
	Live      bool          `json:"live"`
	Fixed     bool          `json:"fixed" doc:"It is in the configuration, and cannot be changed here"`
}

// hookList is a page of hooks.
type hookList struct {
	Hooks []hookDescription `json:"hooks"`
	Next  string            `json:"next,omitempty" doc:"The next page's cursor"`
}

func (h *hook) describe() hookDescription {
	s := &h.source
	d := hookDescription{
		Name: s.Name, URL: "/hooks/" + s.Name, Kind: s.Kind, Secrets: len(s.Secrets), Tolerance: s.Tolerance.String(), Subject: s.Subject,
		Headers: s.Headers, IDHeader: s.IDHeader, Live: s.Live, Fixed: h.file,
	}
	if s.Kind == inbound.KindHMAC {
		d.HMAC = &s.HMAC
	}
	return d
}

// allowed tells whether an identity may have to do with a hook: only who may publish on every subject that its template can name. A random token stands
// for each field: nothing but a
// wildcard lets that pass.
func (h *hook) allowed(bus *core.Bus) error {
	subject, err := h.template.Expand(func(field string) (string, error) {
		if field == "name" {
			return core.EncodeToken(h.source.Name), nil
		}
		return rand.Text(), nil
	})
	if err != nil {
		return err
	}
	if bus.Allow("publish", subject) != nil {
		return core.Errorf(core.CodePermissionDenied, "this needs the permission to publish on everything that %s can be", h.source.Subject)
	}
	return nil
}

// hookFor returns the hook that the path names if this identity may have to do with it.
func (a *Adapter) hookFor(c *gin.Context) (*hook, error) {
	h, err := a.hooks.find(c.Request.Context(), c.Param("name"))
	if err == nil {
		err = h.allowed(busOf(c))
	}
	return h, err
}

// getHook: GET /v1/hooks/{name}.
func (a *Adapter) getHook(c *gin.Context) {
	h, err := a.hookFor(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, h.describe())
}

// listHooks: GET /v1/hooks. What this identity may have nothing to do with is left out.
func (a *Adapter) listHooks(c *gin.Context) {
	page, err := readPaging(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	all, err := a.hooks.all(c.Request.Context())
	if err != nil {
		a.fail(c, err)
		return
	}
	all = slices.DeleteFunc(all, func(h *hook) bool { return h.allowed(busOf(c)) != nil })
	all, next := pageOf(c, page, all, func(h *hook) string { return h.source.Name })
	out := hookList{Hooks: make([]hookDescription, 0, len(all)), Next: next}
	for _, h := range all {
		out.Hooks = append(out.Hooks, h.describe())
	}
	c.JSON(http.StatusOK, out)
}

// all returns the sources, in no order. One of the configuration hides one of the same name that was made by REST before.
func (s *hookState) all(ctx context.Context) (all []*hook, err error) {
	t, err := s.table(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := t.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if s.fixed[e.Key] != nil {
			continue
		}
		h, err := openHook(e)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	for _, h := range s.fixed {
		all = append(all, h)
	}
	return all, nil
}

// putHook: PUT /v1/hooks/{name}. 201 when it was created, 200 when it was replaced.
func (a *Adapter) putHook(c *gin.Context) {
	var cfg hookConfig
	if err := a.readJSON(c, &cfg); err != nil {
		a.fail(c, err)
		return
	}
	old, err := a.hookFor(c)
	if err != nil && core.AsError(err).Code != core.CodeNotFound {
		a.fail(c, err)
		return
	}
	h, err := cfg.hook(c.Param("name"), old)
	if err == nil {
		err = h.allowed(busOf(c))
	}
	if err == nil {
		err = a.hooks.put(c.Request.Context(), h, old)
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	status := http.StatusOK
	if old == nil {
		status = http.StatusCreated
	}
	c.JSON(status, h.describe())
}

// hook makes the source of a body; old is the one there is, or nil.
func (cfg *hookConfig) hook(name string, old *hook) (*hook, error) {
	source := inbound.Source{
		Name: name, Kind: cfg.Kind, Secrets: cfg.Secrets, Subject: cfg.Subject, Headers: cfg.Headers, IDHeader: cfg.IDHeader, Live: cfg.Live,
	}
	if cfg.HMAC != nil {
		source.HMAC = *cfg.HMAC
	}
	if cfg.Secrets == nil && old != nil && old.source.Kind == cfg.Kind {
		source.Secrets = old.source.Secrets
	}
	if cfg.Tolerance != "" {
		d, err := time.ParseDuration(cfg.Tolerance)
		if err != nil || d == 0 {
			return nil, badField("body.tolerance", "a duration from 1s to 1h", cfg.Tolerance)
		}
		source.Tolerance = d
	}
	h, err := newHook(source)
	return h, hookInvalid(err)
}

// hookInvalid makes what is wrong with a source's fields a problem that names each.
func hookInvalid(err error) error {
	if err == nil {
		return nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	r := &refusal{err: core.Errorf(core.CodeInvalid, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))}
	for _, one := range all {
		field, ok := errors.AsType[*inbound.FieldError](one)
		if !ok {
			return err
		}
		where := "body." + field.Field
		if field.Field == "name" {
			where = "path.name"
		}
		r.fields = append(r.fields, violation{Field: where, Expected: field.Expected, Found: shortened(field.Found)})
	}
	return r
}

// shortened is what is told of a wrong value.
func shortened(found string) string {
	if len(found) > maxFound {
		found = found[:maxFound] + "…"
	}
	return strings.ToValidUTF8(found, "\uFFFD")
}

// put keeps a source in place of old, nil for none. CodeLocked for one of the configuration, CodePreconditionFailed when somebody else was faster,
// CodeResourceExhausted above maxHooks.
func (s *hookState) put(ctx context.Context, h, old *hook) error {
	if s.fixed[h.source.Name] != nil {
		return fixedHook(h.source.Name)
	}
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
	case <-ctx.Done():
		return core.AsError(ctx.Err())
	}
	t, err := s.table(ctx)
	if err != nil {
		return err
	}
	var revision uint64
	if old != nil {
		revision = old.revision
	} else if entries, err := t.List(ctx); err != nil {
		return err
	} else if len(entries) >= maxHooks {
		return core.Errorf(core.CodeResourceExhausted, "there are %d hooks already", len(entries))
	}
	record, err := json.Marshal(h.source)
	if err != nil {
		return err
	}
	_, err = t.Update(ctx, h.source.Name, record, revision)
	return err
}

func fixedHook(name string) error {
	return core.Errorf(core.CodeLocked, "hook %q belongs to the configuration", name)
}

// deleteHook: DELETE /v1/hooks/{name}. 204.
func (a *Adapter) deleteHook(c *gin.Context) {
	h, err := a.hookFor(c)
	if err == nil && h.file {
		err = fixedHook(h.source.Name)
	}
	if err == nil {
		err = a.hooks.remove(c.Request.Context(), h.source.Name)
	}
	a.done(c, err)
}

func (s *hookState) remove(ctx context.Context, name string) error {
	t, err := s.table(ctx)
	if err != nil {
		return err
	}
	return t.Delete(ctx, name)
}
