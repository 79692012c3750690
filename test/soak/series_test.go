package soak

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sample is what the gateway was at a moment.
type sample struct {
	at          time.Duration // since the beginning
	life        int
	goroutines  float64
	rss         int64 // bytes; 0 where there is no /proc
	store       int64 // bytes on disk
	ready       float64
	connections float64
}

// series is the samples, in their order.
type series struct{ samples []sample }

func (s *series) add(x sample) { s.samples = append(s.samples, x) }

func (w *world) sample() sample {
	w.t.Helper()
	text := w.metrics()
	x := sample{
		at: w.clock(), goroutines: valueOf(w.t, text, "go_goroutines"), store: int64(valueOf(w.t, text, "portico_store_bytes")),
		ready: valueOf(w.t, text, "portico_queue_ready_messages"), connections: valueOf(w.t, text, `portico_connections{door="amqp"}`),
	}
	w.mu.Lock()
	x.life = w.life
	w.mu.Unlock()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status); err == nil && found != nil {
		kb, _ := strconv.ParseInt(string(found[1]), 10, 64)
		x.rss = kb << 10
	}
	return x
}

func (w *world) metrics() string {
	w.t.Helper()
	return w.get("/metrics")
}

// get asks the gateway's HTTP door.
func (w *world) get(path string) string {
	w.t.Helper()
	client := http.Client{Timeout: patience}
	resp, err := client.Get(w.gateway.Doors["HTTP"] + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func (w *world) metric(name string) float64 {
	w.t.Helper()
	return valueOf(w.t, w.metrics(), name)
}

// valueOf returns a metric by its whole name, labels included.
func valueOf(t *testing.T, text, name string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// steady is the last life without its first quarter, in which pools and heap find their size.
func (s *series) steady() []sample {
	if len(s.samples) == 0 {
		return nil
	}
	from := len(s.samples) - 1
	for from > 0 && s.samples[from-1].life == s.samples[from].life {
		from--
	}
	return s.samples[from+(len(s.samples)-from)/4:]
}

// judge tells the samples and how the figures grow in the steady part, and fails the test when that is long enough and one surely grows by more than maxGrowth.
func (s *series) judge(t *testing.T) {
	t.Helper()
	var lines strings.Builder
	for _, x := range s.samples {
		fmt.Fprintf(&lines, "\n%10v life %d %6.0f goroutines %5d MiB resident %6d MiB on disk %7.0f ready %3.0f connections",
			x.at.Round(time.Second), x.life, x.goroutines, x.rss>>20, x.store>>20, x.ready, x.connections)
	}
	t.Logf("samples:%s", lines.String())
	steady := s.steady()
	if len(steady) < 3 {
		t.Log("too few samples for a slope")
		return
	}
	span := steady[len(steady)-1].at - steady[0].at
	for what, of := range map[string]func(sample) float64{
		"goroutines": func(x sample) float64 { return x.goroutines }, "resident MiB": func(x sample) float64 { return float64(x.rss) / (1 << 20) },
	} {
		f := fit(steady, of)
		t.Logf("%s: %.1f in the mean of %v, slope %+.2f/h ± %.2f, that is %+.1f %% in that time", what, f.mean, span.Round(time.Second), f.slope, f.deviation,
			100*f.growth(span, 0))
		if span >= steadySpan && f.growth(span, 2) > maxGrowth {
			t.Errorf("%s grow by more than %.0f %% in %v", what, 100*maxGrowth, span)
		}
	}
}

// line is a straight line through samples.
type line struct{ mean, slope, deviation float64 } // slope and its standard deviation by hour

// fit is the line with the least squares.
func fit(samples []sample, of func(sample) float64) line {
	n := float64(len(samples))
	var mx, my float64
	for _, s := range samples {
		mx, my = mx+s.at.Hours()/n, my+of(s)/n
	}
	var sxx, sxy, syy float64
	for _, s := range samples {
		dx, dy := s.at.Hours()-mx, of(s)-my
		sxx, sxy, syy = sxx+dx*dx, sxy+dx*dy, syy+dy*dy
	}
	slope := sxy / sxx
	rest := max(syy-slope*sxy, 0)
	return line{mean: my, slope: slope, deviation: math.Sqrt(rest / (n - 2) / sxx)}
}

// growth is by what part of the mean the line rises in d, at least: so many standard deviations less than it seems.
func (l line) growth(d time.Duration, deviations float64) float64 {
	return (l.slope - deviations*l.deviation) * d.Hours() / l.mean
}
