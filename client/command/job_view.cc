#include "client/command/job_view.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

std::string Progress(const v1::Task& task) {
  const v1::Progress& progress = task.progress();
  if (progress.total_steps() == 0) return "";
  std::string text = absl::StrCat(progress.step(), "/", progress.total_steps());
  if (!progress.series().empty()) {
    absl::StrAppend(&text, " ", progress.series(), " ", progress.value());
  }
  return text;
}

// Where the ranks of running gangs are.
std::string Gangs(const v1::Job& job) {
  std::string text;
  for (const v1::Task& task : job.tasks()) {
    if (task.gang().empty()) continue;
    const int wanted = job.expanded_spec().resources().ranks();
    absl::StrAppend(
        &text, "\n", LastPart(task.name()), " runs on ", task.gang_size(),
        task.gang_size() < wanted ? absl::StrCat(" of ", wanted, " ranks\n")
                                  : " ranks\n");
    Table table({"RANK", "WORKER", "ENDPOINT"});
    for (const v1::GangRank& member : task.gang()) {
      table.Add(
          {absl::StrCat(member.rank()), member.worker(),
           member.endpoint().empty() ? "not there yet" : member.endpoint()});
    }
    absl::StrAppend(&text, table.ToString());
  }
  return text;
}

}  // namespace

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) +
         absl::Nanoseconds(time.nanos());
}

std::string StateName(v1::Job::State state) {
  return std::string(absl::StripPrefix(v1::Job::State_Name(state), "STATE_"));
}

std::string StateName(v1::Task::State state) {
  return std::string(absl::StripPrefix(v1::Task::State_Name(state), "STATE_"));
}

std::string ShortName(const std::string& name) {
  return std::string(absl::StripPrefix(name, "projects/default/"));
}

std::string LastPart(const std::string& name) {
  return name.substr(name.rfind('/') + 1);
}

absl::Duration Elapsed(const v1::Job& job, absl::Time now) {
  if (!job.has_start_time()) return absl::ZeroDuration();
  return (job.has_end_time() ? ToTime(job.end_time()) : now) -
         ToTime(job.start_time());
}

absl::Status PrintJob(Context* context, const v1::Job& job) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  switch (format) {
    case OutputFormat::kTable:
      *context->out << DescribeJob(job, absl::Now());
      break;
    case OutputFormat::kJson:
      *context->out << JsonText(job) << "\n";
      break;
    case OutputFormat::kYaml:
      *context->out << JsonToYaml(JsonText(job)) << "\n";
      break;
    case OutputFormat::kName:
      *context->out << ShortName(job.name()) << "\n";
      break;
  }
  return absl::OkStatus();
}

std::string DescribeJob(const v1::Job& job, absl::Time now) {
  std::string text;
  auto line = [&text](const std::string& key, const std::string& value) {
    if (value.empty()) return;
    absl::StrAppend(&text, key, ":", std::string(15 - key.size(), ' '), value,
                    "\n");
  };
  line("job", ShortName(job.name()));
  line("name", job.spec().name());
  line("method", job.method());
  line("state", StateName(job.state()));
  line("failure",
       job.failure().failure_class().empty()
           ? ""
           : absl::StrCat(job.failure().failure_class(), " in ",
                          job.failure().task(), ": ", job.failure().message()));
  line("data set", job.expanded_spec().dataset().name());
  line("images/class",
       job.expanded_spec().images_per_class() > 0
           ? absl::StrCat(job.expanded_spec().images_per_class())
           : "");
  line("seed", absl::StrCat(job.expanded_spec().seed()));
  line("numerics", job.numerics_class());
  line("created", HumanTime(job.create_time().seconds()));
  line("elapsed", HumanDuration(Elapsed(job, now)));
  line("tasks",
       absl::StrCat(job.tasks_done(), " of ", job.tasks_total(), " done"));
  if (job.tasks_size() == 0) return text;
  Table table({"TASK", "KIND", "STATE", "PROGRESS", "WORKER", "REASON"});
  for (const v1::Task& task : job.tasks()) {
    std::string reason = task.pending_reason();
    if (!task.failure().message().empty()) {
      reason = absl::StrCat(task.failure().failure_class(), ": ",
                            task.failure().message());
    }
    if (task.cached()) reason = "cached";
    if (task.replanned_micro_batch() > 0 && reason.empty()) {
      reason = absl::StrCat("out of memory before, now micro-batches of ",
                            task.replanned_micro_batch());
    }
    table.Add({LastPart(task.name()), task.kind(), StateName(task.state()),
               Progress(task), task.worker(), reason});
  }
  return absl::StrCat(text, "\n", table.ToString(), Gangs(job));
}

}  // namespace dasm
