#include "engine/step_budget.h"

#include "check.h"

using namespace lowrank;

TEST("step budget: all rows where nothing runs beside a prompt, few at first where something does") {
  const StepBudget budget(512);
  CHECK_EQ(budget.prompt_rows(false), 512);
  CHECK_EQ(budget.prompt_rows(true), 32);
  CHECK_EQ(StepBudget(7).prompt_rows(true), 7);
}

TEST("step budget: prompts take about as long as the answers beside them") {
  StepBudget budget(512);
  for (int i = 0; i < 40; ++i) budget.observe(16, 0, 40);
  for (int i = 0; i < 40; ++i) budget.observe(0, 512, 256);  // half a millisecond a row
  CHECK_EQ(budget.prompt_rows(true), 100);
  // Rows that take longer than they were thought to: fewer of them.
  for (int i = 0; i < 40; ++i) budget.observe(16, 100, 140);
  CHECK_EQ(budget.prompt_rows(true), 50);
  // Never none, or a prompt would wait for ever.
  for (int i = 0; i < 40; ++i) budget.observe(16, 50, 1040);
  CHECK_EQ(budget.prompt_rows(true), 16);
}
