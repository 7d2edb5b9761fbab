// SPDX-License-Identifier: Apache-2.0
#include "apps/tool.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>

namespace nextscale {

const std::string kTool = NEXTSCALE_CLI;

Result run(const std::string& command) {
  Result result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const size_t count = fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.output.append(buffer.data(), count);
  }
  result.code = WEXITSTATUS(pclose(pipe));
  return result;
}

int stop_at(const std::vector<std::string>& arguments, const std::string& sign, int signal) {
  int progress[2];
  if (pipe(progress) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    dup2(progress[1], STDERR_FILENO);
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    std::vector<char*> words{const_cast<char*>(kTool.c_str())};
    for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execv(kTool.c_str(), words.data());
    _exit(1);
  }
  close(progress[1]);
  std::string seen;
  char letter = 0;
  while (seen.find(sign) == std::string::npos && read(progress[0], &letter, 1) == 1) seen += letter;
  kill(child, signal);
  int status = 0;
  waitpid(child, &status, 0);
  close(progress[0]);
  return status;
}

}  // namespace nextscale
