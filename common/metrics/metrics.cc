#include "common/metrics/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "prometheus/text_serializer.h"

namespace dasm {
namespace {

double CpuSeconds() {
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& time) {
    return time.tv_sec + 1e-6 * time.tv_usec;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

double OpenFds() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  int count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count - 3;  // ".", ".." and the folder itself
}

// Of the process, not of this object.
double StartTimeSeconds() {
  std::ifstream stat("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  // The program's name, the second field, may hold spaces and parentheses.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  fields >> ticks;

  std::ifstream system("/proc/stat");
  for (std::string line; std::getline(system, line);) {
    if (line.compare(0, 6, "btime ") == 0) {
      return std::stod(line.substr(6)) + ticks / sysconf(_SC_CLK_TCK);
    }
  }
  return 0;
}

}  // namespace

Metrics::Metrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      resident_bytes_(Gauges(kProcessResidentMemoryBytes).Add({})),
      cpu_seconds_(Counters(kProcessCpuSeconds).Add({})),
      open_fds_(Gauges(kProcessOpenFds).Add({})) {
  Gauges(kProcessStartTimeSeconds).Add({}).Set(StartTimeSeconds());
  Gauges(kBuildInfo).Add({{"version", DASM_VERSION}}).Set(1);
}

prometheus::Family<prometheus::Counter>& Metrics::Counters(
    const MetricName& name) {
  return prometheus::BuildCounter().Name(name.name).Help(name.help).Register(
      *registry_);
}

prometheus::Family<prometheus::Gauge>& Metrics::Gauges(const MetricName& name) {
  return prometheus::BuildGauge().Name(name.name).Help(name.help).Register(
      *registry_);
}

prometheus::Family<prometheus::Histogram>& Metrics::Histograms(
    const MetricName& name) {
  return prometheus::BuildHistogram().Name(name.name).Help(name.help).Register(
      *registry_);
}

void Metrics::UpdateProcess() {
  absl::MutexLock lock(&mutex_);
  const double cpu_seconds = CpuSeconds();
  cpu_seconds_.Increment(cpu_seconds - cpu_seconds_told_);
  cpu_seconds_told_ = cpu_seconds;
  resident_bytes_.Set(ResidentBytes());
  open_fds_.Set(OpenFds());
}

std::string Metrics::Text() {
  UpdateProcess();
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

prometheus::Histogram::BucketBoundaries SecondsBuckets() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
          0.25,   0.5,   1,      2.5,   5,    10,    30,   60};
}

prometheus::Histogram::BucketBoundaries WaitBuckets() {
  return {0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400};
}

}  // namespace dasm
