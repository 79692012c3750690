package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"portico/adapters/amqp"
	"portico/core"
	"portico/core/limits"
)

// serve runs the gateway until ctx ends, then drains it. Where the doors are goes to stdout, the log to stderr.
func serve(ctx context.Context, cfg *Config, values map[string]settled, again reader, stdout, stderr io.Writer) error {
	began := time.Now()
	var level slog.LevelVar
	log := newLogger(cfg.Log, &level, stderr)
	secrets, err := cfg.openTLS(log)
	if err != nil {
		return err
	}
	cfg.warnPlain(log)
	record, err := cfg.openAudit(log)
	if err != nil {
		return err
	}
	defer record.Close()
	inside := cfg.core()
	inside.TLS, inside.Audit, inside.Gate = secrets, record, limits.New(cfg.gate(), tellLimited(record))
	g, err := core.New(inside, log)
	if err != nil {
		return err
	}
	g.Translate(core.FormAMQP, amqp.Translator{}) // queues may hold AMQP's form whether or not that door is open
	changes := newReloader(g, inside.Gate, &level, values, again, log)
	all, err := openDoors(cfg, g, secrets, changes, log)
	if err == nil {
		err = all.tell(stdout, cfg)
	}
	if err != nil {
		over, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, g.Run(over, all.adapters...)) // closes what is open
	}
	log.Info("the gateway is open", "version", version(), "doors", len(all.signs), "took", time.Since(began).Round(time.Millisecond))
	told := context.AfterFunc(ctx, func() {
		log.Info("the gateway drains; another signal ends it at once", "at_most", cfg.DrainTimeout)
	})
	defer told()
	go changes.onHangup(ctx) // ends with ctx
	err = g.Run(ctx, all.adapters...)
	log.Info("the gateway is closed", "cause", context.Cause(ctx))
	return err
}

// newLogger logs what is at least as severe as level, which it sets first.
func newLogger(cfg LogConfig, level *slog.LevelVar, w io.Writer) *slog.Logger {
	level.Set(cfg.level())
	o := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// level is the least severe level that is logged.
func (c LogConfig) level() (level slog.Level) {
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return slog.LevelInfo // cannot be: the option takes no other words
	}
	return level
}

// door is the part of the configuration that the AMQP door needs.
func (c *AMQPConfig) door() amqp.Config {
	out := amqp.Config{
		Listen:           c.Listen,
		Product:          c.Product,
		Version:          c.Version,
		Heartbeat:        c.Heartbeat,
		FrameMax:         uint32(c.FrameMax),
		ChannelMax:       uint16(c.ChannelMax),
		HandshakeTimeout: c.HandshakeTimeout,
		ConsumerTimeout:  c.ConsumerTimeout,
	}
	if c.Heartbeat == 0 {
		out.Heartbeat = -1 // the door reads 0 as its default
	}
	if c.ConsumerTimeout == 0 {
		out.ConsumerTimeout = -1
	}
	return out
}

// core is the part of the configuration that core needs.
func (c *Config) core() core.Config {
	out := core.Config{
		DataDir:      c.DataDir,
		NATSListen:   c.NATS.Listen,
		MQTTListen:   c.MQTT.Listen,
		Durability:   c.Durability,
		MaxMessage:   int(c.MaxMessage),
		QueueMemory:  c.QueueMemory,
		DiskFree:     c.DiskFree,
		DrainTimeout: c.DrainTimeout,
		NATSTLS:      c.TLS.mode(c.NATS.TLS),
		MQTTTLS:      c.TLS.mode(c.MQTT.TLS),
	}
	if c.DiskFree == 0 {
		out.DiskFree = -1 // core reads 0 as its default
	}
	out.Tenants = c.Tenants
	out.Users, out.Auth = c.users(), c.auth()
	return out
}
