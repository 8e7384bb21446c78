// What the ordered sum of a gang of two processes costs over loopback TCP,
// beside a plain gRPC stream between the same two processes in the same run.
//
//   collective_bench [--bytes N] [--rounds N] [--check]
//
// Plain: a stream of the generated stub with gRPC's own settings, messages of N
// bytes; in a round each side sends one and waits for the other's, both at the
// same time. Collective: SumShards of N bytes in
// two shards, one a rank, which sends N bytes from each (exchange_plan.h). Both
// are the payload bytes sent by a process over the median time of a round, in
// alternating batches, so that a change of the machine's load meets both.
// `one_way` is the same stream with only one side sending, for comparison.
//
// Prints one JSON object. --check fails below 0.7 of the plain stream, or when
// the bytes counted are not those of the formula.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "common/base/logging.h"
#include "dasm/worker/v1/collective.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/server_builder.h"
#include "nlohmann/json.hpp"
#include "worker/collective/exchange_plan.h"
#include "worker/collective/process_gang.h"

namespace dasm {
namespace {

using worker::v1::CollectiveService;
using worker::v1::Frame;

constexpr int kBatch = 20;
constexpr int kWarmUp = 20;

struct Settings {
  int64_t bytes = 1 << 20;
  int rounds = 400;
};

// Between the two processes: the addresses, and who is ready.
class Pipe {
 public:
  explicit Pipe(int fd) : fd_(fd) {}
  void Say(const std::string& text) {
    const uint32_t size = static_cast<uint32_t>(text.size());
    DASM_CHECK(write(fd_, &size, sizeof(size)) == sizeof(size));
    DASM_CHECK(write(fd_, text.data(), size) == static_cast<ssize_t>(size));
  }
  std::string Hear() {
    uint32_t size = 0;
    DASM_CHECK(recv(fd_, &size, sizeof(size), MSG_WAITALL) == sizeof(size));
    std::string text(size, '\0');
    DASM_CHECK(recv(fd_, text.data(), size, MSG_WAITALL) ==
               static_cast<ssize_t>(size));
    return text;
  }

 private:
  const int fd_;
};

template <typename Body>
double SecondsOf(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A side of the plain stream: in a round each side writes a message and waits
// for the other's, both at the same time.
template <typename Stream>
std::vector<double> Duplex(Stream* stream, const Frame& outgoing, int rounds) {
  std::atomic<int> received = 0;
  std::thread reader([&] {
    Frame incoming;
    for (int i = 0; i < rounds; ++i) {
      DASM_CHECK(stream->Read(&incoming));
      ++received;
      received.notify_one();
    }
  });
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i) {
    seconds.push_back(SecondsOf([&] {
      DASM_CHECK(stream->Write(outgoing));
      for (int seen = received; seen <= i; seen = received) received.wait(seen);
    }));
  }
  reader.join();
  return seconds;
}

// The first message of a stream says by its `shards` how many rounds follow;
// without any it is a stream in one direction, answered when it ends.
class PlainService final : public CollectiveService::Service {
 public:
  explicit PlainService(int64_t bytes) {
    outgoing_.set_payload(std::string(bytes, 'p'));
  }
  grpc::Status Exchange(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<Frame, Frame>* stream) override {
    Frame first;
    DASM_CHECK(stream->Read(&first));
    const int rounds = static_cast<int>(first.header().data().shards());
    if (rounds > 0) {
      Duplex(stream, outgoing_, rounds);
      return grpc::Status::OK;
    }
    Frame incoming;
    while (stream->Read(&incoming)) {
    }
    return grpc::Status::OK;
  }

 private:
  Frame outgoing_;
};

// The times of the rounds behind the first two, in which windows open.
std::vector<double> TimeDuplex(CollectiveService::Stub* stub,
                               const Frame& outgoing) {
  constexpr int kOpening = 2;
  grpc::ClientContext context;
  auto stream = stub->Exchange(&context);
  Frame first;
  first.mutable_header()->mutable_data()->set_shards(kBatch + kOpening);
  DASM_CHECK(stream->Write(first));
  std::vector<double> seconds =
      Duplex(stream.get(), outgoing, kBatch + kOpening);
  stream->WritesDone();
  DASM_CHECK(stream->Finish().ok());
  seconds.erase(seconds.begin(), seconds.begin() + kOpening);
  return seconds;
}

// Seconds a message when only one side sends; timed as a whole, for a message
// that is written is not yet there.
double TimeOneWay(CollectiveService::Stub* stub, const Frame& outgoing) {
  grpc::ClientContext context;
  auto stream = stub->Exchange(&context);
  DASM_CHECK(stream->Write(Frame()));
  return SecondsOf([&] {
           for (int i = 0; i < kBatch; ++i) DASM_CHECK(stream->Write(outgoing));
           stream->WritesDone();
           DASM_CHECK(stream->Finish().ok());
         }) /
         kBatch;
}

std::unique_ptr<Collective> Join(ProcessGang* gang, int process,
                                 const std::string& endpoint0,
                                 const std::string& endpoint1) {
  auto joined = gang->Join(process, {{endpoint0, 1}, {endpoint1, 1}},
                           std::string(32, 's'), {});
  DASM_CHECK(joined.ok());
  return std::move(joined->front());
}

void Sum(Collective* collective, const std::vector<float>& rows,
         std::vector<float>* sum) {
  const absl::Status status =
      collective->SumShards(rows, 2, absl::MakeSpan(*sum));
  DASM_CHECK(status.ok());
}

int Batches(const Settings& settings) {
  return (settings.rounds + kBatch - 1) / kBatch;
}

// Process 1: the plain stream's server and rank 1.
void Peer(const Settings& settings, Pipe pipe) {
  PlainService service(settings.bytes);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  DASM_CHECK(server != nullptr);
  auto gang = *ProcessGang::Listen("127.0.0.1:0");
  pipe.Say(std::to_string(port));
  pipe.Say(gang->endpoint());
  auto collective = Join(gang.get(), 1, pipe.Hear(), gang->endpoint());
  std::vector<float> rows(2 * settings.bytes / 4, 1.0f);
  std::vector<float> sum(settings.bytes / 4);
  for (int i = 0; i < kWarmUp; ++i) Sum(collective.get(), rows, &sum);
  for (int batch = 0; batch < Batches(settings); ++batch) {
    for (int i = 0; i < kBatch; ++i) Sum(collective.get(), rows, &sum);
  }
  pipe.Hear();
  collective.reset();
  server->Shutdown();
}

int Measure(const Settings& settings, bool check, Pipe pipe) {
  auto gang = *ProcessGang::Listen("127.0.0.1:0");
  const std::string port = pipe.Hear();
  const std::string endpoint1 = pipe.Hear();
  pipe.Say(gang->endpoint());
  auto collective = Join(gang.get(), 0, gang->endpoint(), endpoint1);

  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  auto stub = CollectiveService::NewStub(grpc::CreateCustomChannel(
      "127.0.0.1:" + port, grpc::InsecureChannelCredentials(), arguments));
  Frame outgoing;
  outgoing.set_payload(std::string(settings.bytes, 'q'));

  std::vector<float> rows(2 * settings.bytes / 4, 1.0f);
  std::vector<float> sum(settings.bytes / 4);
  for (int i = 0; i < kWarmUp; ++i) Sum(collective.get(), rows, &sum);
  TimeDuplex(stub.get(), outgoing);
  const int64_t before = gang->payload_bytes_sent();
  std::vector<double> plain, ordered, single;
  for (int batch = 0; batch < Batches(settings); ++batch) {
    for (double seconds : TimeDuplex(stub.get(), outgoing)) {
      plain.push_back(seconds);
    }
    for (int i = 0; i < kBatch; ++i) {
      ordered.push_back(SecondsOf([&] { Sum(collective.get(), rows, &sum); }));
    }
    single.push_back(TimeOneWay(stub.get(), outgoing));
  }
  const double counted =
      static_cast<double>(gang->payload_bytes_sent() - before) /
      static_cast<double>(ordered.size());
  const ExchangePlan plan(GangLayout({1, 1}), Reduction::kOrdered,
                          Operation::kSumShards, 2, settings.bytes / 4);
  const auto formula = static_cast<double>(plan.PayloadBytesSent(0));
  const double plain_rate = settings.bytes / Median(plain);
  const double ordered_rate = counted / Median(ordered);
  const double ratio = ordered_rate / plain_rate;
  nlohmann::ordered_json result = {
      {"bench", "collective"},
      {"bytes", settings.bytes},
      {"rounds", ordered.size()},
      {"bytes_sent_per_step", counted},
      {"bytes_of_formula", formula},
      {"plain_stream_mb_per_s", plain_rate / 1e6},
      {"one_way_stream_mb_per_s", settings.bytes / Median(single) / 1e6},
      {"ordered_sum_mb_per_s", ordered_rate / 1e6},
      {"ordered_sum_ms", Median(ordered) * 1e3},
      {"ratio", ratio},
      {"ratio_to_one_way", ordered_rate * Median(single) / settings.bytes},
  };
  std::cout << result.dump(2) << std::endl;
  pipe.Say("done");
  collective.reset();
  int code = 0;
  if (check && counted != formula) {
    std::cerr << "error: bytes_sent_per_step: not those of the formula\n";
    code = 1;
  }
  if (check && ratio < 0.7) {
    std::cerr << "error: ratio: below 0.7 of the plain stream\n";
    code = 1;
  }
  return code;
}

int Main(int argc, char** argv) {
  Settings settings;
  bool check = false;
  CLI::App app("Measures the ordered sum of two processes");
  app.add_option("--bytes", settings.bytes)->check(CLI::Range(4, 1 << 28));
  app.add_option("--rounds", settings.rounds)->check(CLI::Range(1, 1'000'000));
  app.add_flag("--check", check);
  CLI11_PARSE(app, argc, argv);
  settings.bytes = settings.bytes / 4 * 4;

  // Before anything of gRPC runs: it cannot be forked.
  int sockets[2];
  DASM_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  const pid_t child = fork();
  DASM_CHECK(child >= 0);
  if (child == 0) {
    close(sockets[0]);
    Peer(settings, Pipe(sockets[1]));
    return 0;
  }
  close(sockets[1]);
  const int code = Measure(settings, check, Pipe(sockets[0]));
  int status = 0;
  waitpid(child, &status, 0);
  DASM_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return code;
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) { return dasm::Main(argc, argv); }
