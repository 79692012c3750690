package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
)

// The same publish handler, without a bus behind it: see docs/adr/0007-openapi-from-the-route-table.md.
type humaPublish struct {
	Subject string `path:"subject" minLength:"1" maxLength:"4000"`
	Reply   string `query:"reply"`
	Key     string `header:"Idempotency-Key" maxLength:"255"`
	RawBody []byte
}

type humaReceipt struct{ Body receipt }

func underHuma() http.Handler {
	e := gin.New()
	huma.Register(humagin.New(e, huma.DefaultConfig("bench", "1")), huma.Operation{
		OperationID: "publish", Method: http.MethodPost, Path: "/v1/publish/{subject}", MaxBodyBytes: 16 << 20,
	}, func(_ context.Context, in *humaPublish) (*humaReceipt, error) {
		return &humaReceipt{receipt{Queues: len(in.RawBody)}}, nil
	})
	return e
}

func underGin() http.Handler {
	a := &Adapter{}
	o := operation{method: http.MethodPost, path: "/v1/publish/{subject}", params: []param{
		inPath("subject", "", "").of(formSubject), inQuery("reply", "", "", nil).of(formSubject), idempotencyKey(),
	}}
	o.handle = func(c *gin.Context) {
		body := make([]byte, c.Request.ContentLength)
		if _, err := io.ReadFull(c.Request.Body, body); err != nil {
			a.fail(c, err)
			return
		}
		c.JSON(http.StatusOK, receipt{Queues: len(body)})
	}
	e := gin.New()
	group := e.Group("/", a.pathValues)
	a.mount(group, group, []operation{o})
	return e
}

func BenchmarkPublishHandler(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	for name, handler := range map[string]http.Handler{"huma": underHuma(), "gin": underGin()} {
		for _, size := range []int{100, 16 << 10} {
			b.Run(name+"/"+strconv.Itoa(size), func(b *testing.B) {
				body := bytes.Repeat([]byte("x"), size)
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequest(http.MethodPost, "/v1/publish/orders.new?reply=answers", bytes.NewReader(body))
					r.Header.Set("Idempotency-Key", "k")
					r.Header.Set("Content-Type", "application/octet-stream")
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					var got struct{ Queues int }
					if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &got) != nil || got.Queues != size {
						b.Fatalf("%d %s", w.Code, w.Body)
					}
				}
			})
		}
	}
}

// BenchmarkRequestAlone is what making the request and reading the answer costs in BenchmarkPublishHandler.
func BenchmarkRequestAlone(b *testing.B) {
	for _, size := range []int{100, 16 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			body := bytes.Repeat([]byte("x"), size)
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/v1/publish/orders.new?reply=answers", bytes.NewReader(body))
				r.Header.Set("Idempotency-Key", "k")
				r.Header.Set("Content-Type", "application/octet-stream")
				w := httptest.NewRecorder()
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"queues":1}`) }).ServeHTTP(w, r)
				var got struct{ Queues int }
				if json.Unmarshal(w.Body.Bytes(), &got) != nil {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
