#include "common/metrics/http_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "httplib.h"

namespace dasm {
namespace {

constexpr char kField[] = "http";
constexpr char kPlain[] = "text/plain; charset=utf-8";

class LibraryHttpServer final : public HttpServer {
 public:
  LibraryHttpServer(std::function<std::string()> readiness, Metrics* metrics) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(2); };
    // One request a connection: an idle one would hold a thread, and the end of
    // the server up for seconds.
    server_.set_keep_alive_max_count(1);
    server_.set_read_timeout(5);
    server_.set_write_timeout(5);
    server_.set_payload_max_length(1 << 16);
    // The library's default, SO_REUSEPORT, would let a second server take over
    // half of the connections of the first instead of failing.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server_.Get("/livez", [](const httplib::Request&, httplib::Response& out) {
      out.set_content("ok\n", kPlain);
    });
    server_.Get("/readyz", [readiness = std::move(readiness)](
                               const httplib::Request&,
                               httplib::Response& out) {
      const std::string why = readiness ? readiness() : "";
      if (!why.empty()) out.status = 503;
      out.set_content(why.empty() ? "ok\n" : absl::StrCat(why, "\n"), kPlain);
    });
    server_.Get("/metrics",
                [metrics](const httplib::Request&, httplib::Response& out) {
                  out.set_content(metrics->Text(),
                                  "text/plain; version=0.0.4; charset=utf-8");
                });
  }

  ~LibraryHttpServer() override {
    if (!thread_.joinable()) return;
    server_.stop();
    thread_.join();
  }

  absl::Status Bind(const std::string& host, int port) {
    const int wanted = port;
    errno = 0;
    if (port == 0) {
      port = server_.bind_to_any_port(host);
    } else if (!server_.bind_to_port(host, port)) {
      port = -1;
    }
    if (port < 0) {
      const int error = errno;
      return WithReason(
          absl::FailedPreconditionError(absl::StrCat(
              "cannot listen on ", host, ":", wanted, ": ",
              error == 0 ? "no such address" : strerror(error),
              "; another process may use the port: choose another one, or port "
              "0 for any free one")),
          "ADDRESS_UNAVAILABLE", kField);
    }
    const bool v6 = host.find(':') != std::string::npos;
    address_ = absl::StrCat(v6 ? "[" : "", host, v6 ? "]:" : ":", port);
    return absl::OkStatus();
  }

  void Serve() {
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() is lost on a server whose thread has not come that far.
    while (!server_.is_running()) std::this_thread::yield();
  }

  std::string address() const override { return address_; }

 private:
  httplib::Server server_;
  std::string address_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    Options options, Metrics* metrics) {
  const std::string& address = options.address;
  const size_t colon = address.rfind(':');
  int port = -1;
  std::string host = address.substr(0, colon);
  const bool parsed = colon != std::string::npos && !host.empty() &&
                      absl::SimpleAtoi(address.substr(colon + 1), &port) &&
                      port >= 0 && port <= 65535;
  if (!parsed) {
    return InvalidField(
        kField,
        absl::StrCat("\"", address, "\" is not an address; write HOST:PORT"));
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  auto server = std::make_unique<LibraryHttpServer>(
      std::move(options.readiness), metrics);
  if (absl::Status bound = server->Bind(host, port); !bound.ok()) return bound;
  server->Serve();
  return server;
}

}  // namespace dasm
