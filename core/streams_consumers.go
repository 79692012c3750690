package core

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	defaultAckWait    = 30 * time.Second
	defaultAckPending = 1000
	maxAckPending     = 1 << 20
	dropPatience      = 2 * time.Second // for the removal of a consumer of our own; the server does it later, too
)

// The words of ConsumerConfig.Deliver.
const (
	deliverAll, deliverNew, deliverLast                 = "all", "new", "last"
	deliverPerSubject, deliverSequence, deliverFromTime = "last_per_subject", "sequence", "time"
)

// CreateConsumer creates a pull consumer, or finds the one of that name and those properties. CodeNotFound without the stream, CodePreconditionFailed, CodeInvalid.
func (b *Bus) CreateConsumer(ctx context.Context, stream string, cfg ConsumerConfig) (info ConsumerInfo, created bool, err error) {
	right := mayCreateConsumer
	var filter []any
	if len(cfg.Subjects) == 1 {
		right, filter = mayCreateFiltered, []any{cfg.Subjects[0]}
	}
	s, err := b.onConsumer(right, stream, cfg.Name, filter...)
	if err != nil {
		return ConsumerInfo{}, false, err
	}
	if cfg, err = cfg.normal(); err != nil {
		return ConsumerInfo{}, false, err
	}
	if err := b.checkReading(ctx, s, stream, &ReadOptions{Subjects: cfg.Subjects}); err != nil {
		return ConsumerInfo{}, false, err
	}
	done, err := s.change(ctx)
	if err != nil {
		return ConsumerInfo{}, false, err
	}
	defer done()
	found, err := s.consumerInfo(ctx, stream, cfg.Name)
	if err != nil && isAPIError(err, 10014) {
		if err := s.createConsumer(ctx, stream, cfg.js(), "create"); err != nil {
			return ConsumerInfo{}, false, err
		}
		created = true
		found, err = s.consumerInfo(ctx, stream, cfg.Name)
	}
	if err != nil {
		return ConsumerInfo{}, false, err
	}
	there := configOfConsumer(&found.Config)
	if field := cfg.differs(&there); !created && field != "" {
		return ConsumerInfo{}, false, Errorf(CodePreconditionFailed, "consumer %q is there with another %s", cfg.Name, field)
	}
	return consumerOf(found), created, s.synced(ctx)
}

// normal returns cfg with its defaults filled in, or CodeInvalid for what it cannot be.
func (cfg ConsumerConfig) normal() (ConsumerConfig, error) {
	cfg.Deliver = cmp.Or(cfg.Deliver, deliverAll)
	cfg.AckWait, cfg.MaxAckPending = cmp.Or(cfg.AckWait, defaultAckWait), cmp.Or(cfg.MaxAckPending, defaultAckPending)
	if !cfg.Time.IsZero() {
		cfg.Time = cfg.Time.UTC()
	}
	if err := checkFilters(cfg.Subjects); err != nil {
		return cfg, err
	}
	words := []string{deliverAll, deliverNew, deliverLast, deliverPerSubject, deliverSequence, deliverFromTime}
	switch {
	case !slices.Contains(words, cfg.Deliver):
		return cfg, Errorf(CodeInvalid, "deliver %q: want one of %q", cfg.Deliver, words)
	case (cfg.Deliver == deliverSequence) != (cfg.Sequence > 0):
		return cfg, Errorf(CodeInvalid, "sequence %d: want one from 1 with deliver %q, and none without", cfg.Sequence, deliverSequence)
	case (cfg.Deliver == deliverFromTime) != !cfg.Time.IsZero():
		return cfg, Errorf(CodeInvalid, "time: want one with deliver %q, and none without", deliverFromTime)
	case cfg.AckWait < time.Millisecond || cfg.AckWait > maxStreamTime:
		return cfg, Errorf(CodeInvalid, "ack_wait %v: want 1ms or more", cfg.AckWait)
	case cfg.MaxDeliver < 0 || cfg.MaxDeliver > 1<<30:
		return cfg, Errorf(CodeInvalid, "max_deliver %d: it cannot be negative", cfg.MaxDeliver)
	case cfg.MaxAckPending < 0 || cfg.MaxAckPending > maxAckPending:
		return cfg, Errorf(CodeInvalid, "max_ack_pending %d: want 1 to %d", cfg.MaxAckPending, maxAckPending)
	case cfg.Inactive < 0 || cfg.Inactive > maxStreamTime:
		return cfg, Errorf(CodeInvalid, "inactive %v: it cannot be negative", cfg.Inactive)
	}
	return cfg, checkDescription(cfg.Description)
}

var deliverPolicies = [...]struct { // immutable
	word   string
	policy jetstream.DeliverPolicy
}{
	{deliverAll, jetstream.DeliverAllPolicy}, {deliverNew, jetstream.DeliverNewPolicy}, {deliverLast, jetstream.DeliverLastPolicy},
	{deliverPerSubject, jetstream.DeliverLastPerSubjectPolicy}, {deliverSequence, jetstream.DeliverByStartSequencePolicy}, {deliverFromTime, jetstream.DeliverByStartTimePolicy},
}

// js is a normal configuration in JetStream's words.
func (cfg *ConsumerConfig) js() jetstream.ConsumerConfig {
	js := jetstream.ConsumerConfig{
		Name: cfg.Name, Durable: cfg.Name, Description: cfg.Description, AckPolicy: jetstream.AckExplicitPolicy, AckWait: cfg.AckWait, MaxDeliver: limited(cfg.MaxDeliver),
		MaxAckPending: cfg.MaxAckPending, InactiveThreshold: cfg.Inactive, OptStartSeq: cfg.Sequence,
	}
	for _, p := range deliverPolicies {
		if p.word == cfg.Deliver {
			js.DeliverPolicy = p.policy
		}
	}
	if !cfg.Time.IsZero() {
		js.OptStartTime = &cfg.Time
	}
	switch {
	case len(cfg.Subjects) == 1:
		js.FilterSubject = cfg.Subjects[0]
	case len(cfg.Subjects) > 1:
		js.FilterSubjects = cfg.Subjects
	case cfg.Deliver == deliverPerSubject:
		js.FilterSubject = ">" // JetStream wants one
	}
	return js
}

func configOfConsumer(js *jetstream.ConsumerConfig) ConsumerConfig {
	cfg := ConsumerConfig{
		Name: js.Name, Description: js.Description, AckWait: js.AckWait, MaxDeliver: unlimited(js.MaxDeliver), MaxAckPending: js.MaxAckPending, Inactive: js.InactiveThreshold,
		Sequence: js.OptStartSeq, Subjects: js.FilterSubjects,
	}
	cfg.Name = cmp.Or(cfg.Name, js.Durable)
	for _, p := range deliverPolicies {
		if p.policy == js.DeliverPolicy {
			cfg.Deliver = p.word
		}
	}
	if js.OptStartTime != nil {
		cfg.Time = js.OptStartTime.UTC()
	}
	if js.FilterSubject != "" && (cfg.Deliver != deliverPerSubject || js.FilterSubject != ">") {
		cfg.Subjects = []string{js.FilterSubject}
	}
	return cfg
}

// differs names the first field in which two normal configurations differ, "" if there is none.
func (cfg *ConsumerConfig) differs(from *ConsumerConfig) string {
	same := []struct {
		field string
		ok    bool
	}{
		{"description", cfg.Description == from.Description}, {"deliver", cfg.Deliver == from.Deliver}, {"sequence", cfg.Sequence == from.Sequence}, {"time", cfg.Time.Equal(from.Time)},
		{"subjects", slices.Equal(slices.Sorted(slices.Values(cfg.Subjects)), slices.Sorted(slices.Values(from.Subjects)))},
		{"ack_wait", cfg.AckWait == from.AckWait}, {"max_deliver", cfg.MaxDeliver == from.MaxDeliver}, {"max_ack_pending", cfg.MaxAckPending == from.MaxAckPending},
		{"inactive", cfg.Inactive == from.Inactive},
	}
	for _, s := range same {
		if !s.ok {
			return s.field
		}
	}
	return ""
}

// consumerOf describes a consumer.
func consumerOf(info *jetstream.ConsumerInfo) ConsumerInfo {
	out := ConsumerInfo{
		Stream: info.Stream, Config: configOfConsumer(&info.Config), Created: info.Created, Delivered: info.Delivered.Stream, AckFloor: info.AckFloor.Stream,
		AckPending: info.NumAckPending, Redelivered: info.NumRedelivered, Pending: info.NumPending,
	}
	out.Config.Name = cmp.Or(out.Config.Name, info.Name)
	if info.Paused && info.Config.PauseUntil != nil {
		out.PausedUntil = *info.Config.PauseUntil
	}
	return out
}

// createConsumer creates a consumer; action "create" refuses one that is there with other properties.
func (s *streams) createConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig, action string) error {
	request := struct {
		Stream string                   `json:"stream_name"`
		Config jetstream.ConsumerConfig `json:"config"`
		Action string                   `json:"action"`
	}{stream, cfg, action}
	verb := "CONSUMER.CREATE." + stream + "." + cfg.Name
	if cfg.FilterSubject != "" {
		verb += "." + cfg.FilterSubject
	}
	return named(s.ask(ctx, verb, request, nil), "stream", stream)
}

// dropConsumer removes a consumer of our own. If it fails the server does it when nobody has listened for some time.
func (s *streams) dropConsumer(stream, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), dropPatience)
	defer cancel()
	m := apiPrefix + "CONSUMER.DELETE." + stream + "." + name
	if _, err := s.nc.RequestWithContext(ctx, m, nil); err != nil {
		s.gateway.log.Debug("consumer not removed", "stream", stream, "err", err)
	}
}

func (s *streams) consumerInfo(ctx context.Context, stream, name string) (*jetstream.ConsumerInfo, error) {
	info := new(jetstream.ConsumerInfo)
	if err := s.ask(ctx, "CONSUMER.INFO."+stream+"."+name, nil, info); err != nil {
		return nil, consumerError(err, stream, name)
	}
	return info, nil
}

// consumerError says which of the two is not there.
func consumerError(err error, stream, name string) error {
	if isAPIError(err, 10059) {
		return named(err, "stream", stream)
	}
	return named(err, "consumer", name)
}

// Consumer describes a consumer. CodeNotFound.
func (b *Bus) Consumer(ctx context.Context, stream, name string) (ConsumerInfo, error) {
	s, err := b.onConsumer(mayReadConsumer, stream, name)
	if err != nil {
		return ConsumerInfo{}, err
	}
	info, err := s.consumerInfo(ctx, stream, name)
	if err != nil {
		return ConsumerInfo{}, err
	}
	return consumerOf(info), nil
}

// Consumers lists a stream's consumers by name, those behind after, at most limit (1 to 1000). CodeNotFound without the stream.
func (b *Bus) Consumers(ctx context.Context, stream, after string, limit int) ([]ConsumerInfo, error) {
	s, err := b.onStream(mayListConsumers, stream)
	if err != nil {
		return nil, err
	}
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	names, err := s.consumerNames(ctx, stream)
	if err != nil {
		return nil, err
	}
	var out []ConsumerInfo
	for _, name := range behind(names, after, limit, func(name string) bool { return !ownConsumer(name) }) {
		info, err := s.consumerInfo(ctx, stream, name)
		if err != nil && isAPIError(err, 10014) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, consumerOf(info))
	}
	return out, nil
}

// consumerNames lists the names of a stream's consumers, in order.
func (s *streams) consumerNames(ctx context.Context, stream string) ([]string, error) {
	var names []string
	for total := 1; len(names) < total && len(names) < maxStreamCount; {
		var page struct {
			Total     int      `json:"total"`
			Consumers []string `json:"consumers"`
		}
		if err := s.ask(ctx, "CONSUMER.NAMES."+stream, map[string]int{"offset": len(names)}, &page); err != nil {
			return nil, named(err, "stream", stream)
		}
		if len(page.Consumers) == 0 {
			break
		}
		names, total = append(names, page.Consumers...), page.Total
	}
	return sortedNames(names), nil
}

// DeleteConsumer deletes a consumer. CodeNotFound.
func (b *Bus) DeleteConsumer(ctx context.Context, stream, name string) error {
	s, err := b.onConsumer(mayDeleteConsumer, stream, name)
	if err != nil {
		return err
	}
	if err := s.ask(ctx, "CONSUMER.DELETE."+stream+"."+name, nil, nil); err != nil {
		return consumerError(err, stream, name)
	}
	return s.synced(ctx)
}

// PauseConsumer stops deliveries until then; the zero time resumes them. CodeNotFound.
func (b *Bus) PauseConsumer(ctx context.Context, stream, name string, until time.Time) (ConsumerInfo, error) {
	s, err := b.onConsumer(mayPauseConsumer, stream, name)
	if err != nil {
		return ConsumerInfo{}, err
	}
	request := struct {
		Until *time.Time `json:"pause_until,omitempty"`
	}{}
	if !until.IsZero() {
		until = until.UTC()
		request.Until = &until
	}
	if err := s.ask(ctx, "CONSUMER.PAUSE."+stream+"."+name, request, nil); err != nil {
		return ConsumerInfo{}, consumerError(err, stream, name)
	}
	info, err := s.consumerInfo(ctx, stream, name)
	if err != nil {
		return ConsumerInfo{}, err
	}
	return consumerOf(info), s.synced(ctx)
}
