package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"
	"portico/test/gateway"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const tenantFile = `tenants: [{name: shop}]
users: [{name: ops, password: secret, tenants: [shop]}]
`

const opsBasic = "Basic b3BzOnNlY3JldA=="

// TestTenantsAtEveryDoor: what is published into a tenant by any door is heard there, and not in the default tenant; asking for one that is not there is refused.
func TestTenantsAtEveryDoor(t *testing.T) {
	if got := "Basic " + base64.StdEncoding.EncodeToString([]byte("ops:secret")); got != opsBasic {
		t.Fatalf("the credentials are %s", got)
	}
	file := filepath.Join(t.TempDir(), "portico.yaml")
	if err := os.WriteFile(file, []byte(tenantFile), 0o600); err != nil {
		t.Fatal(err)
	}
	g := gateway.Run(t, exec.Command(gateway.Build(t), "--config", file))
	doors := map[string]func(t *testing.T, g *gateway.Gateway, tenant string) error{
		"amqp": intoAMQP, "http": intoHTTP, "websocket": intoWebSocket, "grpc": intoGRPC, "stomp": intoSTOMP, "mqtt": intoMQTT, "nats": intoNATS,
	}
	inside, outside := hear(t, g, "shop:ops"), hear(t, g, "ops")
	for name, publish := range doors {
		if err := publish(t, g, "shop"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "stomp" {
			continue // a host that is no tenant is the name of a machine
		}
		if err := publish(t, g, "none"); err == nil {
			t.Errorf("%s: a tenant that is not there was entered", name)
		}
	}
	for range doors {
		if _, err := inside.NextMsg(patience); err != nil {
			t.Fatalf("not every door was heard: %v", err)
		}
	}
	if m, err := outside.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("outside %s was heard", m.Subject)
	}
}

func hear(t *testing.T, g *gateway.Gateway, user string) *nats.Subscription {
	t.Helper()
	nc, err := nats.Connect("nats://"+bare(g, "NATS"), nats.UserInfo(user, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	s, err := nc.SubscribeSync("t.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

// bare is a door's address without a scheme and a user.
func bare(g *gateway.Gateway, door string) string {
	at := g.Doors[door]
	at = at[strings.LastIndex(at, "/")+1:]
	return at[strings.LastIndex(at, "@")+1:]
}

func intoAMQP(t *testing.T, g *gateway.Gateway, tenant string) error {
	c, err := amqp.DialConfig("amqp://ops:secret@"+bare(g, "AMQP"), amqp.Config{Vhost: tenant})
	if err != nil {
		return err
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	done, err := ch.PublishWithDeferredConfirm("amq.topic", "t.amqp", false, false, amqp.Publishing{})
	if err == nil && !done.Wait() {
		err = fmt.Errorf("not confirmed")
	}
	return err
}

func intoHTTP(t *testing.T, g *gateway.Gateway, tenant string) error {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.Doors["HTTP"]+"/v1/publish/t.http", strings.NewReader("x"))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", opsBasic)
	r.Header.Set("Portico-Tenant", tenant)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

func intoWebSocket(t *testing.T, g *gateway.Gateway, tenant string) error {
	d := websocket.Dialer{Subprotocols: []string{"portico.v1.json"}}
	ws, _, err := d.DialContext(t.Context(), g.Doors["WebSocket"]+"?tenant="+tenant, http.Header{"Authorization": {opsBasic}})
	if err != nil {
		return err
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"op":"pub","id":"1","subject":"t.websocket","data":""}`)); err != nil {
		return err
	}
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil || bytes.Contains(frame, []byte(`"op":"ok"`)) {
			return err
		}
		if bytes.Contains(frame, []byte(`"op":"err"`)) {
			return fmt.Errorf("answered %s", frame)
		}
	}
}

func intoGRPC(t *testing.T, g *gateway.Gateway, tenant string) error {
	conn, err := grpc.NewClient(g.Doors["gRPC"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", opsBasic, "portico-tenant", tenant)
	_, err = porticov1.NewPorticoServiceClient(conn).Publish(ctx, &porticov1.PublishRequest{Message: &porticov1.Message{Subject: "t.grpc"}})
	return err
}

func intoSTOMP(t *testing.T, g *gateway.Gateway, tenant string) error {
	conn, err := net.Dial("tcp", bare(g, "STOMP"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	fmt.Fprintf(conn, "CONNECT\naccept-version:1.2\nhost:%s\nlogin:ops\npasscode:secret\n\n\x00SEND\ndestination:/topic/t.stomp\nreceipt:1\n\n\x00", tenant)
	var got []byte
	for b := make([]byte, 4096); !bytes.Contains(got, []byte("RECEIPT")); {
		n, err := conn.Read(b)
		got = append(got, b[:n]...)
		if err != nil || bytes.Contains(got, []byte("ERROR")) {
			return fmt.Errorf("answered %q, %w", got, err)
		}
	}
	return nil
}

func intoMQTT(t *testing.T, g *gateway.Gateway, tenant string) error {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + bare(g, "MQTT")).SetClientID("t").SetUsername(tenant + ":ops").SetPassword("secret").SetAutoReconnect(false)
	c := mqtt.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		return fmt.Errorf("connect: %w", token.Error())
	}
	defer c.Disconnect(0)
	token := c.Publish("t/mqtt", 1, false, "x")
	token.WaitTimeout(patience)
	return token.Error()
}

func intoNATS(t *testing.T, g *gateway.Gateway, tenant string) error {
	nc, err := nats.Connect("nats://"+bare(g, "NATS"), nats.UserInfo(tenant+":ops", "secret"), nats.MaxReconnects(0))
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.Publish("t.nats", nil); err != nil {
		return err
	}
	return nc.Flush()
}
