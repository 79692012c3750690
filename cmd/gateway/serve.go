package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"portico/adapters/amqp"
	"portico/core"
)

// serve runs the gateway until ctx ends, then drains it. Where the doors are goes to stdout, the log to stderr.
func serve(ctx context.Context, cfg *Config, stdout, stderr io.Writer) error {
	began := time.Now()
	log := newLogger(cfg.Log, stderr)
	g, err := core.New(cfg.core(), log)
	if err != nil {
		return err
	}
	g.Translate(core.FormAMQP, amqp.Translator{}) // queues may hold AMQP's form whether or not that door is open
	all, err := openDoors(cfg, g, log)
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
	err = g.Run(ctx, all.adapters...)
	log.Info("the gateway is closed", "cause", context.Cause(ctx))
	return err
}

func newLogger(cfg LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // cannot be: the option takes no other words
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
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
	}
	if c.DiskFree == 0 {
		out.DiskFree = -1 // core reads 0 as its default
	}
	for _, u := range c.Users {
		out.Users = append(out.Users, core.User{
			Name:      u.Name,
			Password:  string(u.Password + u.PasswordHash), // one of them is empty
			Publish:   u.Publish,
			Subscribe: u.Subscribe,
		})
	}
	return out
}
