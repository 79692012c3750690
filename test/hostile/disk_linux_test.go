package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	amqp091 "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// smallDisk is a file system of its own with so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	if testing.Short() {
		t.Skip("fills a disk")
	}
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=0700", size))
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	must(t, err)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func free(t testing.TB, dir string) int {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int(st.Bavail) * int(st.Bsize)
}

// ballast fills the disk until so many bytes are left; the returned function makes room again.
func ballast(t testing.TB, dir string, left int) (lift func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	must(t, err)
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(max(free(t, dir)-left, 1))))
	must(t, f.Close())
	return func() { must(t, os.Remove(path)) }
}

// ready tells what /readyz says.
func (s *site) ready() (status int, reasons string, err error) {
	status, body, err := s.try("GET", "/readyz", "")
	var answer struct{ Reasons []string }
	if err == nil {
		err = json.Unmarshal([]byte(body), &answer)
	}
	return status, strings.Join(answer.Reasons, "; "), err
}

// door is a way to put a message into a queue: nil when it is kept, errRefused when it is refused as a full disk is.
type door struct {
	name   string
	append func(ctx context.Context, queue, id string) error
}

var errRefused = errors.New("refused for want of space")

// body is a payload that begins with its id.
func body(id string) []byte { return append([]byte(id+" "), make([]byte, 16<<10)...) }

func idOf(body []byte) string { id, _, _ := strings.Cut(string(body), " "); return id }

func (s *site) doors(t *testing.T) []door {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.Confirm(false))
	rpc, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { rpc.Close() })
	return []door{
		{"amqp", func(ctx context.Context, queue, id string) error { return appendAMQP(ctx, ch, queue, id) }},
		{"http", func(_ context.Context, queue, id string) error { return s.appendHTTP(queue, id) }},
		{"grpc", func(ctx context.Context, queue, id string) error {
			return appendGRPC(ctx, porticov1.NewPorticoServiceClient(rpc), queue, id)
		}},
	}
}

func appendAMQP(ctx context.Context, ch *amqp091.Channel, queue, id string) error {
	confirm, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: body(id)})
	if err != nil {
		return err
	}
	acked, err := confirm.WaitContext(ctx)
	if err == nil && !acked {
		return errRefused
	}
	return err
}

func (s *site) appendHTTP(queue, id string) error {
	status, answer, err := s.try("POST", "/v1/queues/"+queue+"/messages", string(body(id)))
	switch {
	case err != nil:
		return err
	case status == http.StatusCreated:
		return nil
	case (status == http.StatusInsufficientStorage || status == http.StatusServiceUnavailable) && strings.Contains(answer, "urn:portico:problem:"):
		return errRefused
	}
	return fmt.Errorf("answered %d %s", status, answer)
}

func appendGRPC(ctx context.Context, c porticov1.PorticoServiceClient, queue, id string) error {
	_, err := c.Append(ctx, &porticov1.AppendRequest{Queue: queue, Message: &porticov1.Message{Data: body(id)}})
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.Unavailable:
		return errRefused
	}
	return err
}

// drained takes everything out of a queue, over HTTP.
func (s *site) drained(t *testing.T, queue string) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for {
		_, answer := s.call(t, "POST", "/v1/queues/"+queue+"/fetch?max=200&lease=1h", "")
		var got struct{ Messages []struct{ Data string } }
		must(t, json.Unmarshal([]byte(answer), &got))
		if len(got.Messages) == 0 {
			return ids
		}
		for _, m := range got.Messages {
			ids[idOf([]byte(m.Data))] = true
		}
	}
}

// blockedNotice is a connection that is told when publishing is blocked.
func (s *site) blockedNotice(t *testing.T) (publish func(), notices <-chan amqp091.Blocking) {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/") // declares connection.blocked
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	told := conn.NotifyBlocked(make(chan amqp091.Blocking, 16))
	ch, err := conn.Channel()
	must(t, err)
	return func() { _ = ch.Publish("amq.topic", "nobody", false, false, amqp091.Publishing{}) }, told
}

// TestFullDisk: a disk that fills up under publishers at three doors. What was confirmed is there after a restart, what was not was refused in the
// protocol's words, and when there is room again the gateway goes on by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 64<<20)
	s := startIn(t, dir, "--disk-free", "off") // nothing warns before the disk is really full
	confirmed := map[string]map[string]bool{}
	doors := s.doors(t)
	for _, d := range doors {
		s.call(t, "PUT", "/v1/queues/"+d.name, "")
		confirmed[d.name] = map[string]bool{}
	}
	publish, notices := s.blockedNotice(t)
	heard := s.listener(t, "devices/full")
	lift := ballast(t, dir, 4<<20)

	var publishers sync.WaitGroup
	for _, d := range doors {
		kept := confirmed[d.name]
		publishers.Go(func() { fill(t, d, kept) })
	}
	publishers.Wait()
	status, reasons, err := s.ready()
	must(t, err)
	if status != http.StatusServiceUnavailable || !strings.Contains(reasons, "disk") && !strings.Contains(reasons, "store") {
		t.Errorf("/readyz of a gateway with a full disk: %d %q, want 503 and the alarm's name", status, reasons)
	}
	publish()
	if b := receive(t, notices, "connection.blocked"); !b.Active || b.Reason == "" {
		t.Errorf("told %+v, want blocked with a reason", b)
	}

	lift()
	began := time.Now()
	eventually(t, 2*patience, func() error {
		status, reasons, err := s.ready()
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, reasons)
		}
		return err
	})
	t.Logf("ready again %v after there was room", time.Since(began).Round(time.Millisecond))
	if b := receive(t, notices, "connection.unblocked"); b.Active {
		t.Errorf("told %+v, want unblocked", b)
	}
	for _, d := range s.doors(t) {
		eventually(t, 2*patience, func() error { return d.append(within(t, 2*patience), d.name, "after") })
		confirmed[d.name]["after"] = true
	}
	s.serves(t)
	s.keepsTopology(t)
	heard()
	s.Signal(t, syscall.SIGTERM)
	if state := s.Wait(t); !state.Success() {
		t.Errorf("ended with %v", state)
	}
	again := startIn(t, dir)
	for name, ids := range confirmed {
		there := again.drained(t, name)
		for id := range maps.Keys(ids) {
			if !there[id] {
				t.Errorf("%s: %s was confirmed and is lost", name, id)
			}
		}
		t.Logf("%s: %d confirmed, %d there", name, len(ids), len(there))
	}
}

// keepsTopology checks that queues, bindings and exchanges can be made, which tables keep.
func (s *site) keepsTopology(t *testing.T) {
	t.Helper()
	if status, answer := s.call(t, "PUT", "/v1/queues/later", ""); status != http.StatusCreated {
		t.Errorf("declare: %d %s", status, answer)
	}
	if status, answer := s.call(t, "PUT", "/v1/queues/later/bindings/later.*", ""); status != http.StatusNoContent {
		t.Errorf("bind: %d %s", status, answer)
	}
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	if err := ch.ExchangeDeclare("later", "topic", true, false, false, false, nil); err != nil {
		t.Errorf("exchange: %v", err)
	}
}

// listener subscribes over MQTT with quality of service 1, which JetStream keeps for it. The returned function checks that it is served still.
func (s *site) listener(t *testing.T, topic string) (check func()) {
	t.Helper()
	arrived := make(chan struct{}, 16)
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + s.mqtt).SetClientID("listener").SetAutoReconnect(false))
	done := func(token mqtt.Token) error {
		if !token.WaitTimeout(patience) {
			return errors.New("not in time")
		}
		return token.Error()
	}
	must(t, done(client.Connect()))
	t.Cleanup(func() { client.Disconnect(100) })
	must(t, done(client.Subscribe(topic, 1, func(mqtt.Client, mqtt.Message) { arrived <- struct{}{} })))
	return func() {
		t.Helper()
		if err := done(client.Publish(topic, 1, false, "x")); err != nil {
			t.Errorf("MQTT publish: %v", err)
			return
		}
		receive(t, arrived, "MQTT message")
	}
}

// TestDiskAlarm: long before the disk is full publishing into queues is refused at every door, and allowed again when there is room.
func TestDiskAlarm(t *testing.T) {
	dir := smallDisk(t, 128<<20)
	s := startIn(t, dir, "--disk-free", "32MiB")
	doors := s.doors(t)
	for _, d := range doors {
		s.call(t, "PUT", "/v1/queues/"+d.name, "")
		must(t, d.append(within(t, patience), d.name, "before"))
	}
	publish, notices := s.blockedNotice(t)
	lift := ballast(t, dir, 16<<20)
	eventually(t, patience, func() error {
		status, reasons, err := s.ready()
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(reasons, "disk")) {
			err = fmt.Errorf("/readyz says %d %q", status, reasons)
		}
		return err
	})
	for _, d := range doors {
		if d.name == "amqp" {
			continue // held back
		}
		if err := d.append(within(t, patience), d.name, "during"); !errors.Is(err, errRefused) {
			t.Errorf("%s while the disk is nearly full: %v", d.name, err)
		}
	}
	if err := s.servesHTTP(); err != nil {
		t.Errorf("live messages are refused, too: %v", err)
	}
	publish()
	if b := receive(t, notices, "connection.blocked"); !b.Active || b.Reason != "low on disk" {
		t.Errorf("told %+v, want blocked: low on disk", b)
	}
	held := make(chan error, 1)
	go func() { held <- doors[0].append(within(t, 2*patience), doors[0].name, "during") }()
	lift()
	if b := receive(t, notices, "connection.unblocked"); b.Active {
		t.Errorf("told %+v, want unblocked", b)
	}
	if err := receive(t, held, "confirm of what was held back"); err != nil {
		t.Errorf("what AMQP held back: %v", err)
	}
	for _, d := range doors {
		must(t, d.append(within(t, patience), d.name, "after"))
		there := s.drained(t, d.name)
		if !there["before"] || !there["after"] || there["during"] != (d.name == "amqp") {
			t.Errorf("%s: there are %v", d.name, there)
		}
	}
}

// fill appends until the disk is full and a refusal came.
func fill(t *testing.T, d door, kept map[string]bool) {
	for i := range 10_000 {
		id := fmt.Sprintf("%s-%d", d.name, i)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := d.append(ctx, d.name, id)
		cancel()
		switch {
		case err == nil:
			kept[id] = true
		case errors.Is(err, errRefused):
			return
		case errors.Is(err, context.DeadlineExceeded) && d.name == "amqp": // held back: that is what blocked means
			return
		default:
			t.Errorf("%s: %v", id, err)
			return
		}
	}
	t.Errorf("%s: nothing was refused", d.name)
}
