// Follows a job's events to its end and shows them: a live line on a terminal,
// one line an event elsewhere.
#ifndef DASM_CLIENT_COMMAND_FOLLOW_H_
#define DASM_CLIENT_COMMAND_FOLLOW_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/command/context.h"

namespace dasm {

struct FollowOptions {
  bool quiet = false;
  absl::Duration timeout = absl::InfiniteDuration();
  // Asked between events; true ends the following with CANCELLED.
  std::function<bool()> interrupted = [] { return false; };
};

// The job once it has ended. Takes the stream up again after a broken
// connection, for as long as the server is away at most a minute at a time.
//   DEADLINE_EXCEEDED (reason WAIT_TIMEOUT)  the timeout passed
//   CANCELLED  interrupted; the job goes on
//   NOT_FOUND, UNAVAILABLE
absl::StatusOr<v1::Job> FollowJob(Context* context, const std::string& name,
                                  const FollowOptions& options);

// What the live line is made of; fed with events.
class ProgressView {
 public:
  // Times of day are shown in `zone`.
  explicit ProgressView(absl::TimeZone zone = absl::LocalTimeZone())
      : zone_(zone) {}

  // The job with its tasks: many like ones (task_groups.h) then share their
  // lines, one when the first begins and one for each tenth that is done.
  void Expect(const v1::Job& job);
  // A line worth keeping (a task began or ended, ...), or empty.
  std::string Update(const v1::JobEvent& event);
  // "3/8 tasks  segment-2 64/160  loss 12.3 ▇▅▂  9.1/s  left 11s", never wider
  // than `columns`: a line that wraps cannot be redrawn. What matters least is
  // left out first.
  std::string Line(absl::Time now, int columns) const;

 private:
  struct Group {
    size_t size = 0;
    bool begun = false;
    std::set<std::string> done;
  };
  // What is worth saying of a member's event; empty: nothing.
  static std::string GroupNews(Group* group, const v1::JobEvent& event);

  const absl::TimeZone zone_;
  std::map<std::string, Group, std::less<>> groups_;  // by prefix
  v1::Job job_;
  std::map<std::string, v1::Task> running_;
  std::map<std::string, std::vector<double>> history_;
  std::map<std::string, absl::Time> checkpoint_;
};

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_FOLLOW_H_
