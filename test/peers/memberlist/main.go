// Command herald-memberlist is a member of a cluster that runs hashicorp/memberlist itself, for tests that put Herald
// beside it. It derives its key from a secret as MetalLB does.
//
// Events are JSON lines on stdout: started, join, leave, update, message, members, left, failed. memberlist's own log goes
// to stderr. Commands are lines on stdin:
//
//	members                 all members that are alive or suspect
//	join HOST:PORT...       joins, as -join does at the start
//	send NODE HEX           sends application bytes in a datagram
//	reliable NODE HEX       sends application bytes over a stream
//	leave                   leaves gracefully and ends
//	quit                    ends without a word to the others
//
// The end of stdin is quit. With -record FILE every datagram and stream that it sends is kept as a JSON line, and with
// -deaf-udp it takes no datagram in, as behind a filter.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// member is a node as events show it.
type member struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	State   string `json:"state"`
	Meta    string `json:"meta"`
}

type event struct {
	Event    string   `json:"event"`
	Member   *member  `json:"member,omitempty"`
	Members  []member `json:"members,omitempty"`
	Bytes    string   `json:"bytes,omitempty"`
	Command  string   `json:"command,omitempty"`
	Error    string   `json:"error,omitempty"`
	Contacts int      `json:"contacts,omitempty"`
}

var stdoutLock sync.Mutex

func say(e event) {
	stdoutLock.Lock()
	defer stdoutLock.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(e); err != nil {
		os.Exit(1)
	}
}

func describe(n *memberlist.Node) member {
	states := map[memberlist.NodeStateType]string{
		memberlist.StateAlive: "alive", memberlist.StateSuspect: "suspect", memberlist.StateDead: "dead", memberlist.StateLeft: "left",
	}
	return member{Name: n.Name, Address: n.Addr.String(), Port: n.Port, State: states[n.State], Meta: hex.EncodeToString(n.Meta)}
}

// watcher is told by memberlist what happens.
type watcher struct{ meta []byte }

func (watcher) NotifyJoin(n *memberlist.Node) {
	m := describe(n)
	say(event{Event: "join", Member: &m})
}
func (watcher) NotifyLeave(n *memberlist.Node) {
	m := describe(n)
	say(event{Event: "leave", Member: &m})
}
func (watcher) NotifyUpdate(n *memberlist.Node) {
	m := describe(n)
	say(event{Event: "update", Member: &m})
}

func (w watcher) NodeMeta(int) []byte { return w.meta }
func (watcher) NotifyMsg(bytes []byte) {
	say(event{Event: "message", Bytes: hex.EncodeToString(bytes)})
}
func (watcher) GetBroadcasts(int, int) [][]byte       { return nil }
func (watcher) LocalState(bool) []byte                { return nil }
func (watcher) MergeRemoteState(bytes []byte, _ bool) {}

func main() {
	var (
		name       = flag.String("name", "", "name of this member")
		bind       = flag.String("bind", "127.0.0.1", "address of its sockets")
		port       = flag.Int("port", 7946, "port of its sockets, UDP and TCP")
		secret     = flag.String("secret", "", "the secret that the key is derived from; empty: no encryption")
		secretFile = flag.String("secret-file", "", "a file that holds the secret, instead of -secret")
		joins      = flag.String("join", "", "HOST:PORT of members to join, with commas between")
		profile    = flag.String("profile", "lan", "memberlist's defaults: lan, wan or local")
		meta       = flag.String("meta", "", "application bytes attached to the member, hexadecimal")
		compress   = flag.Bool("compress", true, "compress what it sends, as memberlist does by default")
		protocol   = flag.Int("protocol", 2, "memberlist's protocol version, 1 to 5; 1 pads what it encrypts")
		record     = flag.String("record", "", "file for everything that is sent, a JSON line each")
		deafUDP    = flag.Bool("deaf-udp", false, "take no datagram in")
	)
	flag.Parse()
	config := map[string]func() *memberlist.Config{"lan": memberlist.DefaultLANConfig, "wan": memberlist.DefaultWANConfig, "local": memberlist.DefaultLocalConfig}[*profile]
	if *name == "" || config == nil || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(config(), settings{*name, *bind, *port, *secret, *secretFile, *joins, *meta, *protocol, *compress, *record, *deafUDP}); err != nil {
		say(event{Event: "failed", Error: err.Error()})
		os.Exit(1)
	}
}

type settings struct {
	name, bind               string
	port                     int
	secret, secretFile, join string
	meta                     string
	protocol                 int
	compress                 bool
	record                   string
	deafUDP                  bool
}

func run(config *memberlist.Config, s settings) error {
	// Without meta there is none, rather than an empty one: on the wire the two differ.
	var meta []byte
	var err error
	if s.meta != "" {
		if meta, err = hex.DecodeString(s.meta); err != nil {
			return err
		}
	}
	if s.secretFile != "" {
		text, err := os.ReadFile(s.secretFile)
		if err != nil {
			return err
		}
		s.secret = string(text)
	}
	config.Name, config.BindAddr, config.BindPort = s.name, s.bind, s.port
	config.AdvertiseAddr, config.AdvertisePort = s.bind, s.port
	config.ProtocolVersion = uint8(s.protocol)
	config.EnableCompression = s.compress
	config.SecretKey = deriveKey(s.secret)
	config.Delegate, config.Events = watcher{meta}, watcher{meta}
	config.Logger = log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds)
	if s.record != "" || s.deafUDP {
		if config.Transport, err = newRecorder(config, s.record, s.deafUDP); err != nil {
			return err
		}
	}
	list, err := memberlist.Create(config)
	if err != nil {
		return err
	}
	self := describe(list.LocalNode())
	say(event{Event: "started", Member: &self})
	if s.join != "" {
		join(list, strings.Split(s.join, ","))
	}
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := strings.Fields(commands.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "quit" {
			break
		}
		if words[0] == "leave" {
			err := list.Leave(time.Second)
			say(event{Event: "left", Error: text(err)})
			break
		}
		if err := obey(list, words); err != nil {
			say(event{Event: "failed", Command: commands.Text(), Error: err.Error()})
		}
	}
	return list.Shutdown()
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func join(list *memberlist.Memberlist, addresses []string) {
	contacts, err := list.Join(addresses)
	say(event{Event: "joined", Contacts: contacts, Error: text(err)})
}

func obey(list *memberlist.Memberlist, words []string) error {
	switch {
	case words[0] == "members" && len(words) == 1:
		members := []member{}
		for _, n := range list.Members() {
			members = append(members, describe(n))
		}
		say(event{Event: "members", Members: members})
		return nil
	case words[0] == "join" && len(words) > 1:
		join(list, words[1:])
		return nil
	case (words[0] == "send" || words[0] == "reliable") && len(words) == 3:
		bytes, err := hex.DecodeString(words[2])
		if err != nil {
			return err
		}
		for _, n := range list.Members() {
			if n.Name != words[1] {
				continue
			}
			if words[0] == "reliable" {
				return list.SendReliable(n, bytes)
			}
			return list.SendBestEffort(n, bytes)
		}
		return fmt.Errorf("no member %q", words[1])
	}
	return fmt.Errorf("unknown command, or wrong number of words")
}
