package differential

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"portico/test/gateway"
)

const (
	startTimeout = 60 * time.Second // RabbitMQ takes its time, on a machine that is busy with other tests even more
	stopTimeout  = 10 * time.Second
)

// startRabbitMQ runs a node of its own on free ports of the loopback, in a folder of its own, and returns its AMQP address.
// The node, its name service and whatever they started end with the test.
func startRabbitMQ(t *testing.T) string {
	t.Helper()
	server := gateway.Needs(t, "rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server")
	epmd := gateway.Needs(t, "rabbitmq-server", "epmd")
	dir := t.TempDir()
	ports := freePorts(t, 3)
	env := append(os.Environ(), nodeSettings(t, dir, ports)...)
	// The node would start its name service as a daemon that outlives everybody: so it is here before, and ends with its input.
	background(t, exec.Command("sh", "-c", `"$@" & read -r _; kill $!`, "sh", epmd, "-address", "127.0.0.1", "-port", ports[1]), env)
	log := background(t, exec.Command(server), env)
	addr := net.JoinHostPort("127.0.0.1", ports[0])
	if !opens(addr) {
		t.Fatalf("RabbitMQ did not open in %v:\n%s", startTimeout, log())
	}
	return addr
}

// nodeSettings are the environment of a node: every path and port that it would otherwise share with one that is installed.
func nodeSettings(t *testing.T, dir string, ports []string) []string {
	t.Helper()
	conf := filepath.Join(dir, "rabbitmq.conf")
	write(t, conf, "loopback_users.guest = true\n")
	plugins := filepath.Join(dir, "enabled_plugins")
	write(t, plugins, "[].\n")
	return []string{
		"HOME=" + dir,            // of the Erlang cookie
		"RABBITMQ_ALLOW_INPUT=1", // one process, not a shell around it
		"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + ports[1],
		"RABBITMQ_NODENAME=differential@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + ports[0],
		"RABBITMQ_DIST_PORT=" + ports[2], "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
		"RABBITMQ_CONFIG_FILE=" + conf, "RABBITMQ_CONF_ENV_FILE=" + filepath.Join(dir, "none"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + plugins, "RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"),
		"RABBITMQ_GENERATED_CONFIG_DIR=" + filepath.Join(dir, "generated"),
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// background starts a command that ends when its input does, which is with the test. It returns a function for what the command has said.
func background(t *testing.T, cmd *exec.Cmd, env []string) func() string {
	t.Helper()
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env, cmd.Stdout, cmd.Stderr = env, said, said
	stdin, err := cmd.StdinPipe() // held open: it ends with its input, even when the test is killed
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		late := time.AfterFunc(stopTimeout, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		_ = said.Close()
	})
	return func() string {
		text, _ := os.ReadFile(said.Name())
		return string(text)
	}
}

// freePorts are n ports of the loopback that nobody listens on.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// opens waits until a server at addr speaks AMQP.
func opens(addr string) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(startTimeout); time.Now().Before(limit); <-tick.C {
		if (&session{addr: addr}).login(login{}) == "open" {
			return true
		}
	}
	return false
}
