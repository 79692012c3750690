package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	relayChunk = 64 << 10 // bytes that go from the store to a client at a time; two of them are in memory
	maxChanged = 3        // how often a read begins anew because the object was replaced under it
)

// headObject: HEAD /v1/objects/{bucket}/items/{name...}.
func (a *Adapter) headObject(c *gin.Context) {
	name, when, err := objectAsked(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	info, err := busOf(c).ObjectInfo(c.Request.Context(), c.Param("bucket"), name)
	if err != nil {
		a.fail(c, err)
		return
	}
	if a.wanted(c, &info, when) {
		a.objectHead(c, &info, part{length: info.Size}) // ranges are not for HEAD [RFC 9110 14.2]
		c.Writer.WriteHeaderNow()
	}
}

// getObject: GET /v1/objects/{bucket}/items/{name...}.
func (a *Adapter) getObject(c *gin.Context) {
	name, when, err := objectAsked(c)
	if err == nil && !a.rest.transfers.TryAcquire(1) {
		err = core.Errorf(core.CodeResourceExhausted, "%d objects are on their way: try again", maxTransfers)
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	defer a.rest.transfers.Release(1)
	for range maxChanged {
		if a.sendObject(c, name, when) {
			return
		}
	}
	a.fail(c, core.Errorf(core.CodeUnavailable, "the object is being replaced all the time: try again"))
}

func objectAsked(c *gin.Context) (name string, when conditions, err error) {
	if name, err = objectName(c); err != nil {
		return name, when, err
	}
	when, err = conditionsOf(c)
	return name, when, err
}

// sendObject answers, unless the object was replaced between the look at it and the read.
func (a *Adapter) sendObject(c *gin.Context, name string, when conditions) (answered bool) {
	bus, bucket := busOf(c), c.Param("bucket")
	info, err := bus.ObjectInfo(c.Request.Context(), bucket, name)
	if err != nil {
		a.fail(c, err)
		return true
	}
	if !a.wanted(c, &info, when) {
		return true
	}
	part, ok := rangeOf(c.Request.Header, &info)
	if !ok {
		c.Header("Content-Range", "bytes */"+strconv.FormatInt(info.Size, 10))
		a.fail(c, withStatus(badField("header.Range", "a range in an object of "+strconv.FormatInt(info.Size, 10)+" bytes, such as bytes=0-99", c.GetHeader("Range")),
			http.StatusRequestedRangeNotSatisfiable))
		return true
	}
	got, body, err := bus.GetObject(c.Request.Context(), bucket, name, part.offset, part.length)
	if err != nil {
		a.fail(c, err)
		return true
	}
	defer body.Close()
	if got.ID != info.ID {
		return false
	}
	a.objectHead(c, &info, part)
	a.relay(c, body, part.length)
	return true
}

// part is what of an object is sent.
type part struct {
	offset, length int64
	partial        bool
}

// wanted tells whether the object is to be sent under these conditions; if not it has answered that.
func (a *Adapter) wanted(c *gin.Context, info *core.ObjectInfo, when conditions) bool {
	tag := quoted(info.ID)
	switch when.unread(tag) {
	case http.StatusNotModified:
		c.Header("ETag", tag)
		c.Status(http.StatusNotModified)
		c.Writer.WriteHeaderNow()
		return false
	case http.StatusPreconditionFailed:
		c.Header("ETag", tag)
		a.fail(c, conditionFailed(core.Errorf(core.CodePreconditionFailed, "the object is another one now")))
		return false
	}
	return true
}

// rangeOf reads Range and If-Range [RFC 9110 14.2, 13.1.5]. Several ranges, and units that nobody knows, are passed over; ok false: there is no such range.
func rangeOf(h http.Header, info *core.ObjectInfo) (p part, ok bool) {
	p = part{length: info.Size}
	spec, bytes := strings.CutPrefix(strings.TrimSpace(h.Get("Range")), "bytes=")
	if !bytes || strings.Contains(spec, ",") || !ifRange(h.Get("If-Range"), info) {
		return p, true
	}
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	from, fromErr := strconv.ParseUint(first, 10, 63)
	to, toErr := strconv.ParseUint(last, 10, 63)
	switch {
	case !dash || first == "" && toErr != nil || first != "" && fromErr != nil || last != "" && toErr != nil:
		return p, false
	case first == "": // the last so many
		p.length = min(int64(to), info.Size)
		p.offset = info.Size - p.length
	case last == "":
		p.offset, p.length = int64(from), info.Size-int64(from)
	case to < from:
		return p, false
	default:
		p.offset, p.length = int64(from), min(int64(to), info.Size-1)-int64(from)+1
	}
	p.partial = true
	return p, p.length > 0 && p.offset < info.Size
}

// ifRange tells whether a range may be taken: the object is still the one that the client has a part of.
func ifRange(value string, info *core.ObjectInfo) bool {
	return value == "" || value == quoted(info.ID) || value == lastModified(info)
}

func lastModified(info *core.ObjectInfo) string { return info.Modified.UTC().Format(http.TimeFormat) }

// objectHead writes the header of the answer.
func (a *Adapter) objectHead(c *gin.Context, info *core.ObjectInfo, p part) {
	h := c.Writer.Header()
	setHeader(h, info.Header)
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("ETag", quoted(info.ID))
	h.Set("Last-Modified", lastModified(info))
	h.Set("Cache-Control", "no-cache, no-transform") // the bytes are those of the digest
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(p.length, 10))
	if digest := digestOf(info.SHA256); digest != "" {
		h.Set("Repr-Digest", digest)
	}
	if disposition := mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(info.Name)}); disposition != "" {
		h.Set("Content-Disposition", disposition)
	}
	if !p.partial {
		c.Status(http.StatusOK)
		return
	}
	last := strconv.FormatInt(p.offset+p.length-1, 10)
	h.Set("Content-Range", "bytes "+strconv.FormatInt(p.offset, 10)+"-"+last+"/"+strconv.FormatInt(info.Size, 10))
	c.Status(http.StatusPartialContent)
}

// relay sends length bytes of body. The last of them go out only when the store has said that all is well: else the answer stays short, and the client sees that.
func (a *Adapter) relay(c *gin.Context, body io.Reader, length int64) {
	sent, err := a.relayed(c, body)
	a.metrics.Out.Inc()
	a.metrics.BytesOut.Add(float64(sent))
	if err == nil && sent != length {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case err == nil:
	case !c.Writer.Written():
		for _, name := range []string{"ETag", "Last-Modified", "Accept-Ranges", "Content-Type", "Content-Encoding", "Content-Length", "Content-Range", "Content-Disposition", "Repr-Digest"} {
			c.Writer.Header().Del(name)
		}
		a.fail(c, err)
	default:
		a.log.Warn("an object was not sent to its end", "door", door, "remote", c.Request.RemoteAddr, "path", c.Request.URL.Path, "sent", sent, "of", length, "err", err)
		panic(http.ErrAbortHandler)
	}
}

// relayed copies body, always one chunk behind what it has read.
func (a *Adapter) relayed(c *gin.Context, body io.Reader) (sent int64, err error) {
	rc := http.NewResponseController(c.Writer)
	write := func(chunk []byte) error {
		if len(chunk) == 0 {
			return nil
		}
		if err := rc.SetWriteDeadline(time.Now().Add(a.writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		n, err := c.Writer.Write(chunk)
		sent += int64(n)
		return err
	}
	held, fresh := make([]byte, 0, relayChunk), make([]byte, relayChunk)
	for {
		n, err := io.ReadFull(body, fresh)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return sent, err
		}
		if err := write(held); err != nil {
			return sent, err
		}
		if ended {
			return sent, write(fresh[:n])
		}
		held, fresh = fresh, held[:relayChunk]
	}
}
