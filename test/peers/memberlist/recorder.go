package main

import (
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// sent is one datagram, or all that went out over one stream.
type sent struct {
	Kind string `json:"kind"`
	Hex  string `json:"hex"`
}

// recorder is memberlist's own transport, with a copy kept of what leaves through it: the bytes are those on the wire.
type recorder struct {
	*memberlist.NetTransport
	deafUDP bool
	packets chan *memberlist.Packet
	streams chan net.Conn
	lock    sync.Mutex
	file    *os.File
}

func newRecorder(config *memberlist.Config, path string, deafUDP bool) (*recorder, error) {
	if path == "" {
		path = os.DevNull
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	transport, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{config.BindAddr}, BindPort: config.BindPort, Logger: config.Logger})
	if err != nil {
		return nil, err
	}
	r := &recorder{NetTransport: transport, deafUDP: deafUDP, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), file: file}
	go r.receive()
	return r, nil
}

func (r *recorder) receive() {
	for {
		select {
		case packet := <-r.NetTransport.PacketCh():
			if !r.deafUDP {
				r.packets <- packet
			}
		case conn := <-r.NetTransport.StreamCh():
			r.streams <- &recordedConn{Conn: conn, recorder: r}
		}
	}
}

func (r *recorder) keep(kind string, bytes []byte) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if err := json.NewEncoder(r.file).Encode(sent{kind, hex.EncodeToString(bytes)}); err != nil {
		panic(err)
	}
}

func (r *recorder) PacketCh() <-chan *memberlist.Packet { return r.packets }
func (r *recorder) StreamCh() <-chan net.Conn           { return r.streams }

func (r *recorder) WriteTo(bytes []byte, address string) (time.Time, error) {
	r.keep("packet", bytes)
	return r.NetTransport.WriteTo(bytes, address)
}

func (r *recorder) WriteToAddress(bytes []byte, address memberlist.Address) (time.Time, error) {
	r.keep("packet", bytes)
	return r.NetTransport.WriteToAddress(bytes, address)
}

func (r *recorder) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return r.record(r.NetTransport.DialTimeout(address, timeout))
}

func (r *recorder) DialAddressTimeout(address memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return r.record(r.NetTransport.DialAddressTimeout(address, timeout))
}

func (r *recorder) record(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return &recordedConn{Conn: conn, recorder: r}, nil
}

// recordedConn is written to once per message: that is how memberlist does it.
type recordedConn struct {
	net.Conn
	recorder *recorder
}

func (c *recordedConn) Write(bytes []byte) (int, error) {
	c.recorder.keep("stream", bytes)
	return c.Conn.Write(bytes)
}
