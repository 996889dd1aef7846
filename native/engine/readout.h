// What the requests of a step want of its rows of logits.
#pragma once

#include <vector>

#include "backend/program.h"
#include "engine/sequence.h"
#include "model/graph.h"

namespace lowrank {

// One row: its logits, and what the step found in them as far as the request wants it.
struct Readout {
  const float* logits;                    // [vocabulary], the backend's memory
  const LogitsRow* to_draw = nullptr;     // kGenerate
  const LogitsRow* to_describe = nullptr; // kScore, and kGenerate with log-probabilities
};

// Records what is wanted of rows of logits; one for each row that a step computes at a time.
class Readouts {
 public:
  // The program is that of the graph: what is recorded lives as long as its steps.
  explicit Readouts(Program& program) : program_(program) {}

  // The row at `position` of a sequence. Where tokens before it are drafts, it is drawn from as if they had been drawn: another
  // outcome makes the row worthless. Of a sequence that is done nothing is wanted.
  void add(const Sequence& sequence, int32_t position, const float* logits, int32_t vocabulary);
  void record(Graph& graph);
  // Of the i-th row that was added, once the program has run.
  Readout operator[](size_t i) const;

 private:
  struct Places {
    const float* logits;
    int32_t to_draw = -1;  // into rows_
    int32_t to_describe = -1;
  };
  Program& program_;
  std::vector<Places> places_;
  std::vector<LogitsRow> rows_;
  const LogitsRow* recorded_ = nullptr;
};

}  // namespace lowrank
