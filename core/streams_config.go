package core

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The words of StreamConfig.
const (
	retainLimits, retainInterest, retainWork = "limits", "interest", "workqueue"
	storeFile, storeMemory                   = "file", "memory"
	discardOld, discardNew                   = "old", "new"

	defaultDuplicates = 2 * time.Minute
	createTries       = 5
	createPause       = 50 * time.Millisecond
	maxStreamTime     = 100 * 365 * 24 * time.Hour
)

// normal returns cfg with its defaults filled in, or CodeInvalid for what it cannot be.
func (cfg StreamConfig) normal() (StreamConfig, error) {
	cfg.Retention, cfg.Storage, cfg.Discard = cmp.Or(cfg.Retention, retainLimits), cmp.Or(cfg.Storage, storeFile), cmp.Or(cfg.Discard, discardOld)
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	if len(cfg.Subjects) == 0 {
		cfg.Subjects = []string{cfg.Name}
	}
	if cfg.DuplicateWindow == 0 {
		cfg.DuplicateWindow = defaultDuplicates
		if cfg.MaxAge > 0 {
			cfg.DuplicateWindow = min(cfg.DuplicateWindow, cfg.MaxAge)
		}
	}
	return cfg, cfg.check()
}

func (cfg *StreamConfig) check() error {
	for _, word := range []struct {
		field, value string
		known        []string
	}{
		{"retention", cfg.Retention, []string{retainLimits, retainInterest, retainWork}},
		{"storage", cfg.Storage, []string{storeFile, storeMemory}},
		{"discard", cfg.Discard, []string{discardOld, discardNew}},
	} {
		if !slices.Contains(word.known, word.value) {
			return Errorf(CodeInvalid, "%s %q: want one of %q", word.field, word.value, word.known)
		}
	}
	for _, number := range []struct {
		field string
		value int64
	}{
		{"max_messages", cfg.MaxMessages}, {"max_per_subject", cfg.MaxPerSubject}, {"max_bytes", cfg.MaxBytes}, {"max_message_size", int64(cfg.MaxMessageSize)},
		{"max_age", int64(cfg.MaxAge)}, {"duplicate_window", int64(cfg.DuplicateWindow)}, {"replicas", int64(cfg.Replicas)},
	} {
		if number.value < 0 {
			return Errorf(CodeInvalid, "%s %d: it cannot be negative", number.field, number.value)
		}
	}
	return cfg.checkTimes()
}

func (cfg *StreamConfig) checkTimes() error {
	switch {
	case cfg.MaxAge > maxStreamTime || cfg.DuplicateWindow > maxStreamTime:
		return Errorf(CodeInvalid, "max_age and duplicate_window: at most %d hours", int64(maxStreamTime.Hours()))
	case cfg.MaxAge > 0 && cfg.DuplicateWindow > cfg.MaxAge:
		return Errorf(CodeInvalid, "duplicate_window %v: it cannot be longer than max_age", cfg.DuplicateWindow)
	}
	return checkDescription(cfg.Description)
}

// checkSubjects finds what b may not have kept: the bus's own subjects, and other people's answers.
func (b *Bus) checkSubjects(cfg *StreamConfig) error {
	if len(cfg.Subjects) > maxSubjects {
		return Errorf(CodeInvalid, "subjects: %d of them, at most %d", len(cfg.Subjects), maxSubjects)
	}
	for _, subject := range cfg.Subjects {
		if err := checkPattern(subject); err != nil {
			return err
		}
		if !b.system && reserved(subject) {
			return Errorf(CodePermissionDenied, "subjects: %q belongs to the bus", subject)
		}
	}
	return nil
}

// onto changes a configuration of JetStream's so that it is as cfg, which is normal, says; what cfg knows nothing of stays.
func (cfg *StreamConfig) onto(js jetstream.StreamConfig) jetstream.StreamConfig {
	js.Name, js.Description, js.Subjects = cfg.Name, cfg.Description, cfg.Subjects
	if js.Mirror != nil {
		js.Subjects = nil
	}
	js.Retention = map[string]jetstream.RetentionPolicy{retainLimits: jetstream.LimitsPolicy, retainInterest: jetstream.InterestPolicy, retainWork: jetstream.WorkQueuePolicy}[cfg.Retention]
	js.Storage, js.Discard = storageOf(cfg.Storage), jetstream.DiscardOld
	if cfg.Discard == discardNew {
		js.Discard = jetstream.DiscardNew
	}
	js.MaxMsgs, js.MaxMsgsPerSubject, js.MaxBytes = limited(cfg.MaxMessages), limited(cfg.MaxPerSubject), limited(cfg.MaxBytes)
	js.MaxMsgSize, js.MaxAge, js.Duplicates, js.Replicas = limited(cfg.MaxMessageSize), cfg.MaxAge, cfg.DuplicateWindow, cfg.Replicas
	return js
}

// limited writes "no limit" as JetStream does, unlimited reads it.
func limited[N int | int32 | int64](n N) N {
	if n == 0 {
		return -1
	}
	return n
}

func unlimited[N int | int32 | int64](n N) N { return max(n, 0) }

func storageOf(word string) jetstream.StorageType {
	if word == storeMemory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

func storageWord(s jetstream.StorageType) string {
	if s == jetstream.MemoryStorage {
		return storeMemory
	}
	return storeFile
}

// configOfStream is what a configuration of JetStream's is in our words.
func configOfStream(js *jetstream.StreamConfig) StreamConfig {
	cfg := StreamConfig{
		Name: js.Name, Description: js.Description, Subjects: js.Subjects, Storage: storageWord(js.Storage), Discard: discardOld,
		Retention:   map[jetstream.RetentionPolicy]string{jetstream.LimitsPolicy: retainLimits, jetstream.InterestPolicy: retainInterest, jetstream.WorkQueuePolicy: retainWork}[js.Retention],
		MaxMessages: unlimited(js.MaxMsgs), MaxPerSubject: unlimited(js.MaxMsgsPerSubject), MaxBytes: unlimited(js.MaxBytes), MaxMessageSize: unlimited(js.MaxMsgSize),
		MaxAge: js.MaxAge, DuplicateWindow: js.Duplicates, Replicas: js.Replicas,
	}
	if js.Discard == jetstream.DiscardNew {
		cfg.Discard = discardNew
	}
	return cfg
}

// differs names the first field in which two normal configurations differ, "" if there is none. The order of subjects means nothing.
func (cfg *StreamConfig) differs(from *StreamConfig) string {
	same := []struct {
		field string
		ok    bool
	}{
		{"description", cfg.Description == from.Description},
		{"subjects", slices.Equal(slices.Sorted(slices.Values(cfg.Subjects)), slices.Sorted(slices.Values(from.Subjects)))},
		{"retention", cfg.Retention == from.Retention}, {"storage", cfg.Storage == from.Storage}, {"discard", cfg.Discard == from.Discard},
		{"max_messages", cfg.MaxMessages == from.MaxMessages}, {"max_per_subject", cfg.MaxPerSubject == from.MaxPerSubject}, {"max_bytes", cfg.MaxBytes == from.MaxBytes},
		{"max_message_size", cfg.MaxMessageSize == from.MaxMessageSize}, {"max_age", cfg.MaxAge == from.MaxAge},
		{"duplicate_window", cfg.DuplicateWindow == from.DuplicateWindow}, {"replicas", cfg.Replicas == from.Replicas},
	}
	for _, s := range same {
		if !s.ok {
			return s.field
		}
	}
	return ""
}

func infoOf(info *jetstream.StreamInfo) StreamInfo {
	state := &info.State
	out := StreamInfo{
		Config: configOfStream(&info.Config), Created: info.Created, Messages: state.Msgs, Bytes: state.Bytes, FirstSequence: state.FirstSeq, LastSequence: state.LastSeq,
		LastTime: state.LastTime, Consumers: state.Consumers, Subjects: state.NumSubjects,
	}
	if state.Msgs == 0 {
		out.FirstSequence = state.LastSeq + 1
	}
	if state.LastSeq == 0 {
		out.LastTime = time.Time{}
	}
	return out
}

// ensure finds a stream, or makes it from js. same tells what about one that is there is not as wanted ("": nothing). It is known and on disk when ensure returns.
func (s *streams) ensure(ctx context.Context, js jetstream.StreamConfig, kind, name string, same func(*jetstream.StreamConfig) string) (info *jetstream.StreamInfo, created bool, err error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	info, err = s.directory.refresh(ctx, js.Name)
	if err != nil && codeOf(err) == CodeNotFound {
		if err := s.create(ctx, &js); err != nil {
			return nil, false, err
		}
		created = true
		info, err = s.directory.refresh(ctx, js.Name)
	}
	if err != nil {
		return nil, false, err
	}
	if field := same(&info.Config); !created && field != "" {
		return nil, false, Errorf(CodePreconditionFailed, "%s %q is there with another %s", kind, name, field)
	}
	return info, created, s.synced(ctx)
}

// create makes a stream. When one of the same name has just been deleted its files may still be going: then it tries again.
func (s *streams) create(ctx context.Context, js *jetstream.StreamConfig) error {
	for try := 1; ; try++ {
		err := s.ask(ctx, "STREAM.CREATE."+js.Name, js, nil)
		if try == createTries || !isAPIError(err, 10049) {
			return err
		}
		select {
		case <-time.After(createPause):
		case <-ctx.Done():
			return err
		case <-s.ctx.Done():
			return err
		}
	}
}

// alter changes a stream's configuration.
func (s *streams) alter(ctx context.Context, name string, change func(jetstream.StreamConfig) jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	info, err := s.streamInfo(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.ask(ctx, "STREAM.UPDATE."+name, change(info.Config), nil); err != nil {
		return nil, named(err, "stream", name)
	}
	if info, err = s.directory.refresh(ctx, name); err != nil {
		return nil, err
	}
	return info, s.synced(ctx)
}

// remove deletes a stream.
func (s *streams) remove(ctx context.Context, name string) error {
	if err := s.ask(ctx, "STREAM.DELETE."+name, nil, nil); err != nil {
		return named(err, "stream", name)
	}
	s.gateway.server.forgetStream(s.account, name)
	if _, err := s.directory.refresh(ctx, name); err != nil && codeOf(err) != CodeNotFound {
		return err
	}
	return s.synced(ctx)
}

// list describes streams.
func (s *streams) list(ctx context.Context, names []string) ([]*jetstream.StreamInfo, error) {
	infos := make([]*jetstream.StreamInfo, 0, len(names))
	for _, name := range names {
		info, err := s.streamInfo(ctx, name)
		if err != nil && codeOf(err) == CodeNotFound {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}
