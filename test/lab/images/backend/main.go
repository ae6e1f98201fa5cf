// The pod behind a Service in the full lab: answers HTTP on port 8080 and UDP on port 8081 of every
// address with one line of JSON about itself and about the client as it sees it; the light lab's
// test/lab/backend-server.ts answers the same.
//
// Environment: POD_NAME and NODE_NAME (from the pod's own fields), DRAIN_SECONDS: how long it goes on
// serving after SIGTERM (0 when unset).
//
// GET /healthz is 200, or 503 after PUT /ready?value=false (until value=true). Everything else is the answer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	httpPort = 8080
	udpPort  = 8081
	// Longest text that is echoed: a UDP datagram's payload.
	maxEcho = 65507
)

// answer is what the lab's tests read as BackendAnswer.
type answer struct {
	Pod        string `json:"pod"`
	Node       string `json:"node"`
	Client     string `json:"client"`
	ClientPort int    `json:"clientPort"`
	Address    string `json:"address"`
	Port       int    `json:"port"`
	Path       string `json:"path,omitempty"`
	Echo       string `json:"echo,omitempty"`
}

func main() {
	drain, err := strconv.Atoi(getenv("DRAIN_SECONDS", "0"))
	if err != nil || drain < 0 {
		log.Fatalf("DRAIN_SECONDS must be a number of seconds, not %q", os.Getenv("DRAIN_SECONDS"))
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	udp, err := net.ListenUDP("udp", &net.UDPAddr{Port: udpPort})
	if err != nil {
		log.Fatal(err)
	}
	go serveUDP(udp)
	server := &http.Server{Addr: ":" + strconv.Itoa(httpPort), Handler: handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()

	<-stopping.Done()
	time.Sleep(time.Duration(drain) * time.Second)
	finish, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// What is left after two seconds is cut off by the exit.
	_ = server.Shutdown(finish)
}

func handler() http.Handler {
	var unready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if unready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("PUT /ready", func(w http.ResponseWriter, r *http.Request) {
		unready.Store(r.URL.Query().Get("value") == "false")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		client, err := net.ResolveTCPAddr("tcp", r.RemoteAddr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		own := answer{Path: r.URL.RequestURI()}
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
			own.Address, own.Port = local.IP.String(), local.Port
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(complete(own, client.IP, client.Port)); err != nil {
			log.Print(err)
		}
	})
	return mux
}

func serveUDP(socket *net.UDPConn) {
	buffer := make([]byte, maxEcho)
	for {
		length, client, err := socket.ReadFromUDP(buffer)
		if err != nil {
			log.Fatal(err)
		}
		text, err := json.Marshal(complete(answer{Port: udpPort, Echo: string(buffer[:length])}, client.IP, client.Port))
		if err != nil {
			log.Print(err)
			continue
		}
		if _, err := socket.WriteToUDP(text, client); err != nil {
			log.Print(err)
		}
	}
}

func complete(a answer, client net.IP, port int) answer {
	a.Pod, a.Node = os.Getenv("POD_NAME"), os.Getenv("NODE_NAME")
	a.Client, a.ClientPort = client.String(), port
	return a
}

func getenv(name, fallback string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return fallback
}
