import fieldguide

audit = fieldguide.audit("dataset/", out="what-is-wrong", progress=False)
for finding in audit.findings:
    print(finding.severity, finding.kind, finding.message, finding.paths[:3])
print("estimated share of wrong labels:", audit.label_noise)
